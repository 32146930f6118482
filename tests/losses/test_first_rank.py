"""What one rank makes for all."""

from lightning_cr.distributed import on_first_rank
from lightning_cr.errors import DataError


def made(rank, world):
    return on_first_rank(lambda: {"rank": rank})


def refused(rank, world):
    def make():
        raise DataError(f"rank {rank} found nothing")

    try:
        return on_first_rank(make)
    except DataError as error:
        return str(error)


def test_all_ranks_get_what_the_first_one_makes_or_its_error(two_ranks):
    assert two_ranks.run(made) == [{"rank": 0}] * 2
    assert two_ranks.run(refused) == ["rank 0 found nothing"] * 2
    assert two_ranks.run(made) == [{"rank": 0}] * 2
    assert made(0, 1) == {"rank": 0}
