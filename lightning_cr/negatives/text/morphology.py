"""From a word to its base form: the inverse of :mod:`lightning_cr.negatives.text.inflection`, for all of English.

Rules of spelling decide, tables hold what they get wrong; both were checked against the words of real captions. No
dictionary is asked: the same word has the same lemma everywhere, and a word that nobody has listed has one too.
"""

from __future__ import annotations

import re
from functools import lru_cache

# The tables of the way there, so that the way back cannot disagree with them.
from lightning_cr.negatives.text.inflection import _PLURALS, _VERBS

__all__ = ["form", "lemma"]

_FORMS = {
    "NN": "singular",
    "NNP": "singular",
    "NNS": "plural",
    "NNPS": "plural",
    "VB": "base",
    "VBP": "base",
    "VBZ": "third",
    "VBG": "ing",
    "VBD": "past",
    "VBN": "participle",
}


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


def _pairs(*lines: str) -> dict[str, str]:
    """``"base: form form"`` to base by form."""
    table: dict[str, str] = {}
    for entry in ", ".join(lines).split(", "):
        base, _, forms = entry.partition(": ")
        table.update(dict.fromkeys(forms.split(), base))
    return table


# Irregular plurals, and regular ones that hide whether their "e" belongs to the ending.
_SINGULARS = {many: one for one, many in _PLURALS.items()} | _pairs(
    "life: lives, wife: wives, half: halves, hoof: hooves, thief: thieves, dwarf: dwarves, elf: elves, self: selves",
    "wharf: wharves, sheaf: sheaves, die: dice, louse: lice, fungus: fungi, octopus: octopi, focus: foci",
    "hippopotamus: hippopotami, radius: radii, stimulus: stimuli, alumnus: alumni, bacterium: bacteria",
    "index: indices, phenomenon: phenomena, criterion: criteria, crisis: crises, oasis: oases, trellis: trellises",
    "alibi: alibis, bus: busses, gas: gases gasses, lens: lenses, iris: irises, atlas: atlases, canvas: canvases",
    "bias: biases, axe: axes, pickaxe: pickaxes, ache: aches, headache: headaches, cache: caches, quiche: quiches",
    "niche: niches, mustache: mustaches, moustache: moustaches, avalanche: avalanches, porsche: porsches",
    "brioche: brioches, quiz: quizzes, topaz: topazes, waltz: waltzes, blitz: blitzes, crevasse: crevasses",
    "posse: posses, taxi: taxis, ski: skis, bikini: bikinis, kiwi: kiwis, safari: safaris, martini: martinis",
    "jacuzzi: jacuzzis, zucchini: zucchinis, panini: paninis, graffiti: graffitis, corgi: corgis, sari: saris",
    "yeti: yetis, alkali: alkalis, chili: chilis chilies, broccoli: broccolis, rickshaw: rickshaws, origami: origamis",
    "rhinoceros: rhinoceroses, thermos: thermoses, wii: wiis, menu: menus, tutu: tutus, emu: emus",
    "gnu: gnus, guru: gurus",
)
# Compounds written as one word ("firemen", "bookshelves") end in these.
_COMPOUND_ENDINGS = _set("women men people children teeth feet geese wolves knives shelves loaves")
_PLURAL_ENDINGS = {many: one for many, one in _SINGULARS.items() if many in _COMPOUND_ENDINGS}
_SAME_PLURAL = _set(
    "pants jeans shorts trousers tights leggings overalls pajamas pyjamas clothes scissors sunglasses eyeglasses",
    "sweatpants khakis chinos undies panties suspenders dungarees binoculars goggles tweezers pliers tongs",
    "headquarters barracks species series means news mathematics physics athletics gymnastics politics christmas",
)
_IE_NOUNS = _set(
    "aussie barbie beanie birdie bogie boogie bookie bowtie brownie calorie collie cookie cutie doggie eerie foodie",
    "freebie frisbie genie goalie goodie hippie homie hoodie hottie indie junkie magpie menagerie movie necktie newbie",
    "oldie onesie pinkie pixie potpie prairie rookie rotisserie scottie selfie smoothie sweetie townie veggie",
    "walkie-talkie patisserie walkie westie wheelie yorkie zombie",
)
_OE_WORDS = _set("shoe toe canoe hoe foe oboe doe floe roe woe aloe tiptoe horseshoe snowshoe mistletoe overshoe")
_USE_NOUNS = _set("fuse muse use abuse excuse refuse recluse ruse")

# Irregular verbs, and regular ones whose spelling leads astray.
_BASES = {form: base for base, forms in _VERBS.items() for form in forms} | _pairs(
    "be: am are were 's 'm 're isn't aren't wasn't weren't ain't, have: 've haven't hasn't hadn't",
    "do: does did done don't doesn't didn't, arise: arose arisen, awake: awoke awoken, bear: bore borne, beat: beaten",
    "become: became, begin: began begun, beget: begot, befall: befallen, bid: bade, bend: bent, beset: beset",
    "bind: bound, bleed: bled, breed: bred, bring: brought, burn: burnt, choose: chose chosen, cling: clung",
    "creep: crept, deal: dealt, dive: dove, dream: dreamt, dwell: dwelt, feel: felt, find: found, flee: fled",
    "fling: flung, forbid: forbade forbidden, foresee: foresaw foreseen, forget: forgot forgotten",
    "forgive: forgave forgiven, freeze: froze frozen, get: got, give: gave given, grind: ground, grow: grew grown",
    "hear: heard, keep: kept, know: knew known, lean: leant, leap: leapt, learn: learnt, lend: lent, light: lit",
    "lose: lost, mean: meant, meet: met, mistake: mistook mistaken, mow: mown, outgrow: outgrown, overcome: overcame",
    "overhang: overhung, override: overrode overridden, oversee: oversaw overseen, overtake: overtook overtaken",
    "overthrow: overthrew overthrown, pay: paid, prove: proven, rebuild: rebuilt, remake: remade, repay: repaid",
    "retake: retook retaken, rewrite: rewrote rewritten, ring: rang rung, rise: rose risen, saw: sawn, say: said",
    "see: saw seen, seek: sought, send: sent, sew: sewn, shake: shook shaken, shave: shaven, shear: shorn",
    "shine: shone, shoot: shot, shrink: shrank shrunk, sink: sank sunk, slide: slid, sling: slung, smell: smelt",
    "sow: sown, speed: sped, spell: spelt, spend: spent, spill: spilt, spin: spun, spit: spat, spring: sprang sprung",
    "stick: stuck, sting: stung, stink: stank stunk, strew: strewn, stride: strode stridden, strike: struck stricken",
    "string: strung, swear: swore sworn, sweep: swept, swell: swollen, teach: taught, tell: told, think: thought",
    "tread: trod trodden, understand: understood, undertake: undertaken, undergo: underwent undergone",
    "underwrite: underwritten, undo: undid undone, outdo: outdid outdone, overhear: overheard, overrun: overran",
    "strive: strove striven, frolic: frolicking frolicked, wake: woke woken, weave: wove woven, weep: wept, win: won",
    "wind: wound, withdraw: withdrew withdrawn, withhold: withheld, withstand: withstood, wring: wrung",
    "ski: skied skis, taxi: taxied taxis, lie: lying lied, tie: tying tied ties, untie: untying untied unties",
    "die: dying died dies, vie: vying vied vies, dye: dyed dyeing, eye: eyed eyeing eying",
    "picnic: picnicking picnicked, panic: panicking panicked, mimic: mimicking mimicked",
    "traffic: trafficking trafficked, singe: singeing, age: ageing, axe: axes axing axed, ache: aches, cache: caches",
    "whiz: whizzes whizzing whizzed, quiz: quizzes quizzing quizzed, bus: buses bused busing",
    "focus: focuses focusses focussing focussed, gas: gases gassing gassed, canvas: canvases, birdie: birdied",
    "control: controlling controlled, patrol: patrolling patrolled, owe: owed owing, awe: awed, free: freed",
    "tee: teed, silhouette: silhouetted silhouetting, layer: layered layering",
)
# As a past form another verb's; otherwise verbs of their own.
_PAST_ONLY = _set("lay saw bore wound ground found felt bound fell left rose shot lit dove bit lent")

_VOWELS = "aeiouy"
_KEEPS_DOUBLE = _set("add odd egg err purr putt butt boycott")
_KEEPS_LL = ("ball", "roll", "wall", "fill", "sell", "bill", "spell", "call", "stall", "till", "thrall", "pall")
_TAKES_E = _set(
    "ach bath breath cloth sooth teeth loath writh seeth sheath unsheath sunbath swath tast wast past chang exchang",
    "challeng loung arrang rearrang plung hing unhing rang scroung scaveng spong cring fring infring flang estrang",
    "shortchang lung aveng syring strang massacr guid creat recreat rout rerout leas weav acquir requir inquir squar",
    "situat nauseat persuad dissuad antiqu invit excit overexcit ignit reignit recit unit reunit incit polit favorit",
    "extradit expedit dynamit footnot complet compet delet deplet excret obsolet promot devot denot demot emot remot",
    "quot misquot explor ignor ador restor deplor implor outscor underscor postpon condon enthron dethron telephon",
    "microphon inton interfer adher persever sincer rever cohes interven conven reconven preced conced reced imped",
    "stamped supersed interced inhal exhal impal wholesal compil reconcil profil exil defil stockpil domicil beguil",
    "fil styl freestyl restyl prototyp typ consol cajol telescop elop interlop lop welcom overcom becom renam",
    "nicknam defam rewrit handsom blasphem extrem suprem finess secur delineat permeat disunit prearrang disarrang",
)
_NO_E = _set(
    "visit edit exhibit focus caucus chorus canvas bias combat format bus gas program margin gossip worship refocus",
    "collar mortar murmur solid stupid pyramid debut zigzag catalog coffin ruin rosin waltz blitz kidnap cabin robin",
    "afoul layer sulphur iris carpet gallop scallop parallel vivid rapid humid timid placid",
)
_LONG_TAKES_E = (
    *("at", "ut", "in", "ar", "ir", "ur", "ad", "id", "od", "ud", "ak", "ik", "ok", "ab", "ib", "ob", "ub"),
    *("um", "im", "ap", "ul", "uk"),
)
_SOUNDS = re.compile(r"[aeiouy]+")

_POSITIVES = _pairs(
    "good: better best, bad: worse worst, far: farther farthest further furthest, old: elder eldest, much: more most",
    "little: less least, free: freer freest, dry: dryer dryest, shy: shyer shyest, sly: slyer slyest, pricey: pricier",
)
_NO_POSITIVE = _set("super upper inner outer former latter other under over west northwest southwest midwest rest")


def form(word: str, tag: str) -> str:
    """Which of its forms a word stands in.

    Args:
        word: As written; an empty one has no form.
        tag: Its Penn Treebank tag, which alone decides.

    Returns:
        ``singular``, ``plural``, ``base``, ``third``, ``ing``, ``past``, ``participle``, or empty for other words.

    >>> form("dogs", "NNS"), form("riding", "VBG"), form("red", "JJ")
    ('plural', 'ing', '')
    """
    return _FORMS.get(tag, "") if word else ""


@lru_cache(65_536)
def lemma(word: str, tag: str) -> str:
    """The base form of a word, in lower case.

    Args:
        word: As written. Of several words the last is brought to its singular and the first to its base verb, as
            ``inflection`` inflects them.
        tag: Its Penn Treebank tag: a plural becomes singular, a verb its base, a comparative or superlative the
            positive; words with other tags stay as they are.

    >>> lemma("Women", "NNS"), lemma("riding", "VBG"), lemma("biggest", "JJS"), lemma("during", "IN")
    ('woman', 'ride', 'big', 'during')
    """
    word = word.lower()
    if tag in ("NNS", "NNPS"):
        before, space, last = word.rpartition(" ")
        return before + space + _singular(last)
    if tag in ("VBZ", "VBG", "VBD", "VBN", "VB", "VBP"):
        first, space, rest = word.partition(" ")
        return _base_verb(first, tag) + space + rest
    if tag in ("JJR", "JJS", "RBR", "RBS"):
        return _positive(word)
    return word


def _singular(word: str) -> str:
    if word in _SINGULARS:
        return _SINGULARS[word]
    if word in _SAME_PLURAL or len(word) < 3:
        return word
    for ending, one in _PLURAL_ENDINGS.items():
        if word.endswith(ending):
            return word[: -len(ending)] + one
    if not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if not word.endswith("es"):
        return word if word[-2].isdigit() else word[:-1]  # "the 70s"
    if word.endswith("ies"):
        return word[:-1] if word[:-1] in _IE_NOUNS or len(word) < 5 else word[:-3] + "y"
    if word.endswith("oes"):
        return word[:-1] if word[:-1] in _OE_WORDS else word[:-2]
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if word.endswith("uses"):  # "buses", "octopuses", but "houses", "nurses"
        return word[:-1] if word[:-1] in _USE_NOUNS or word[-5:-4] in ("a", "o", "r") else word[:-2]
    return word[:-1]


def _base_verb(word: str, tag: str) -> str:
    if word in _BASES and (tag in ("VBD", "VBN") or word not in _PAST_ONLY):
        return _BASES[word]
    if tag == "VBZ":
        return _third_to_base(word)
    before, hyphen, last = word.rpartition("-")
    if hyphen:  # "water-skiing" is a verb, "brown-haired" is not
        return before + hyphen + _base_verb(last, tag) if tag == "VBG" else word
    if tag == "VBG" and word.endswith("ing"):
        return _unstem(word[:-3]) or word
    if tag in ("VBD", "VBN") and word.endswith("ed"):
        if word.endswith("ied") and len(word) > 4:
            return word[:-3] + "y"
        if word.endswith("eed") or word[:-1] in _OE_WORDS:
            return word[:-1]
        return _unstem(word[:-2]) or word
    return word


def _third_to_base(word: str) -> str:
    if not word.endswith("s") or word.endswith("ss") or len(word) < 3:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if word.endswith("oes"):
        return word[:-1] if word[:-1] in _OE_WORDS else word[:-2]
    return word[:-1]


def _positive(word: str) -> str:
    if word in _POSITIVES:
        return _POSITIVES[word]
    for ending in ("est", "er"):
        if word.endswith(ending) and word not in _NO_POSITIVE:
            stem = word[: -len(ending)]
            if stem.endswith("i") and len(stem) > 2:
                return stem[:-1] + "y"
            return _unstem(stem) or word
    return word


def _unstem(stem: str) -> str:
    """The word from which an ending (-ing, -ed, -er, -est) was added to a stem; empty where the stem is no word's."""
    sounds = len(_SOUNDS.findall(stem.replace("qu", "q")))
    if len(stem) < 2 or not sounds:
        return ""
    if stem in _TAKES_E:
        return stem + "e"
    if stem in _NO_E:
        return stem
    before, last = stem[-2], stem[-1]
    if last in _VOWELS or last in "wxh":
        return stem + "e" if last == "u" else stem
    if before == last:
        if stem in _KEEPS_DOUBLE or last in "sfz" or (last == "l" and (sounds == 1 or stem.endswith(_KEEPS_LL))):
            return stem
        return stem[:-1]  # "running", "travelled"
    if last in "cvsz" or (last == "g" and before != "n") or (last == "l" and before in "bcdfgkpstz"):
        return stem + "e"  # "dancing", "raised", "juggling"
    if stem.endswith(("iat", "uat")) and sounds > 1:
        return stem + "e"  # "appreciated"
    if before not in _VOWELS or (len(stem) > 2 and stem[-3] in _VOWELS and stem[-4:-2] != "qu"):
        return stem  # "jumping", "looked"
    if sounds == 1 or stem.endswith(_LONG_TAKES_E):
        return stem + "e"  # "riding", "decorated"
    return stem
