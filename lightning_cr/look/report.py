"""How good the negatives of a corpus are, in figures and in a picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_cr.errors import DataError
from lightning_cr.negatives.text.base import AnnotatedCaption, Negative
from lightning_cr.negatives.text.tagging import tokenize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Report"]

_BINS = 20
_WORDS = 30  # most frequent replacements that the JSON lists
_DRAWN = 12  # and the picture
_INK, _OUT, _IN = "#222222", "#d1602b", "#3b6fb6"
_COLOURS = ("#3b6fb6", "#d1602b", "#3f9b6c", "#8a5fb0", "#c2447f", "#8c6d46", "#2f9eb3", "#a3a23a", "#6d7887")


class _Rule:
    """Counts of one rule."""

    def __init__(self) -> None:
        self.made = 0
        self.longer: Counter[int] = Counter()  # words more than the caption has
        self.out: Counter[str] = Counter()
        self.into: Counter[str] = Counter()
        self.bins = [0] * _BINS
        self.rated = 0
        self.rating = 0.0

    def add(self, words: Sequence[str], negative: Negative) -> None:
        self.made += 1
        after = [word for word, *_ in tokenize(negative.text)]
        self.longer[len(after) - len(words)] += 1
        if _bag(after) != _bag(words):  # a swap puts in what it takes out
            self.out.update([negative.original.lower()] if negative.original else [])
            self.into.update([negative.replacement.lower()] if negative.replacement else [])
        if negative.concreteness is not None:
            self.rated += 1
            self.rating += negative.concreteness
            self.bins[min(_BINS - 1, max(0, int(negative.concreteness * _BINS)))] += 1

    def balance(self, most: int) -> list[dict[str, Any]]:
        """The words that are changed most, with how often they are taken out and put in."""
        common = sorted((self.out + self.into).items(), key=lambda item: (-item[1], item[0]))[:most]
        return [{"words": words, "out": self.out[words], "in": self.into[words]} for words, _ in common]


class Report:
    """Counts negatives as they come; a corpus of any size needs the memory of its different words.

    Args:
        kinds: The slots, in order.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self.captions = self.covered = 0
        self._rules = {kind: _Rule() for kind in kinds}

    def add(self, caption: AnnotatedCaption, negatives: Sequence[Negative | None]) -> None:
        """Counts one caption with its negatives, in the order of the slots."""
        self.captions += 1
        self.covered += any(negative is not None for negative in negatives)
        words = [token.text for token in caption.tokens]
        for rule, negative in zip(self._rules.values(), negatives, strict=True):
            if negative is not None:
                rule.add(words, negative)

    def figures(self) -> dict[str, Any]:
        """All figures, as JSON can hold them; a share of nothing is null.

        ``balance`` names the words that are changed most; where they are taken out and put in unequally often, a bag
        of words tells captions from negatives. ``concreteness`` is that of the words taken out, in bins of 1/20.
        """
        rules = {}
        for kind, rule in self._rules.items():
            rules[kind] = {
                "coverage": _share(rule.made, self.captions),
                "negatives": rule.made,
                "same_number_of_words": _share(rule.longer[0], rule.made),
                "words_more": _share(sum(more * count for more, count in rule.longer.items()), rule.made),
                "balance": rule.balance(_WORDS),
                "concreteness": {
                    "rated": rule.rated,
                    "mean": _share(rule.rating, rule.rated),
                    "histogram": rule.bins,
                },
            }
        return {"captions": self.captions, "coverage": _share(self.covered, self.captions), "rules": rules}

    def write(self, folder: Path, about: dict[str, Any]) -> list[Path]:
        """Writes ``report.json`` and ``report.png``.

        Args:
            folder: Made if needed.
            about: What the figures are of.

        Raises:
            DataError: The folder cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(13.5, 9), dpi=110, layout="constrained")
        (coverage, lengths), (balance, concreteness) = figure.subplots(2, 2)
        self._draw_coverage(coverage)
        self._draw_lengths(lengths)
        self._draw_balance(balance)
        self._draw_concreteness(concreteness)
        for axes in (coverage, lengths, balance, concreteness):
            axes.spines[["top", "right"]].set_visible(False)
        paths = [folder / "report.json", folder / "report.png"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths[0].write_text(json.dumps({**about, **self.figures()}, indent=1), encoding="utf-8")
            figure.savefig(paths[1])
        except OSError as error:
            raise DataError(f"--report '{folder}' cannot be written: {error}; name another folder") from error
        return paths

    def _draw_coverage(self, axes: Axes) -> None:
        kinds = [*self._rules, "any of them"]
        shares = [100 * (_share(rule.made, self.captions) or 0) for rule in self._rules.values()]
        shares.append(100 * (_share(self.covered, self.captions) or 0))
        bars = axes.barh(kinds, shares, color=[*_colours(len(self._rules)), _INK])
        axes.bar_label(bars, [f"{share:.1f}" for share in shares], padding=3)
        axes.invert_yaxis()
        axes.set(xlim=(0, 112), title=f"captions with a negative, % of {self.captions:,}")

    def _draw_lengths(self, axes: Axes) -> None:
        made = {kind: rule for kind, rule in self._rules.items() if rule.made}
        reach = range(-3, 4)
        for number, (kind, rule) in enumerate(made.items()):
            clipped: Counter[int] = Counter()
            for more, count in rule.longer.items():
                clipped[max(reach[0], min(reach[-1], more))] += count
            width = 0.8 / len(made)
            places = [more + (number + 0.5) * width - 0.4 for more in reach]
            colour = _colours(len(self._rules))[list(self._rules).index(kind)]
            axes.bar(places, [100 * clipped[more] / rule.made for more in reach], width, label=kind, color=colour)
        axes.set_xticks(reach, [f"{more:+d}" if more else "same" for more in reach])
        axes.set_title("words more than the caption has, % of negatives")
        if made:
            axes.legend(frameon=False)

    def _draw_balance(self, axes: Axes) -> None:
        total = _Rule()
        for rule in self._rules.values():
            total.out += rule.out
            total.into += rule.into
        rows = total.balance(_DRAWN)
        # "$" would begin a formula
        words = [row["words"][:24].encode("ascii", "replace").decode().replace("$", r"\$") for row in rows]
        places = range(len(rows))
        axes.barh(places, [-row["out"] for row in rows], color=_OUT, label="taken out")
        axes.barh(places, [row["in"] for row in rows], color=_IN, label="put in")
        axes.set_yticks(places, words)
        axes.axvline(0, color=_INK, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda count, _: f"{abs(count):,.0f}")
        axes.invert_yaxis()
        axes.set_title("most frequent replacements; swaps are left out")
        if rows:
            axes.legend(frameon=False)

    def _draw_concreteness(self, axes: Axes) -> None:
        edges = [bin / _BINS for bin in range(_BINS + 1)]
        rated = False
        for (kind, rule), colour in zip(self._rules.items(), _colours(len(self._rules)), strict=True):
            if rule.rated:
                axes.stairs([100 * count / rule.rated for count in rule.bins], edges, label=kind, color=colour)
                rated = True
        axes.set(xlim=(0, 1), title="concreteness of the words taken out, % of the rated")
        if rated:
            axes.legend(frameon=False, loc="upper left")
        else:
            axes.text(0.5, 0.5, "no ratings; see --norms", ha="center", transform=axes.transAxes)


def _bag(words: Sequence[str]) -> Counter[str]:
    """Words in any order; "an" is "a", which depends on what follows."""
    return Counter("a" if word.lower() == "an" else word.lower() for word in words)


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _colours(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]
