"""Make meaningless text of English words, the same in every run."""

import random
from typing import Final

WORDS: Final = """
after again air also always animal another answer area around ask away back because become before begin
being below between book both boy build call came carry change children city close come country cut day
different does door earth eat end enough even every example eye face family far father feet few field
find first follow food form found four friend girl give good govern great ground group grow half hand
hard head hear help here high home horse house hundred idea important keep kind know land large last
late laugh lead learn leave left letter life light line list listen little live long machine make many
measure men might mile mother mountain move much music name near need never next night north note number
often old once open order other page paper part pattern people picture piece place plain plan plant play
point port power press problem question quick rain read ready real red remember rest right river road
rock room round rule run said same saw school science sea second see seem self sentence set several ship
short should show side simple size sleep slow small snow song soon sound south space spell stand star
start state stay step stop story street strong study sun sure table take talk teach tell test thing
think thought thousand through time together took top toward town travel tree true turn under unit until
usual very voice vowel wait walk want war warm watch water week weigh west wheel where while white whole
wind wonder wood work world write year young
""".split()  # noqa: SIM905 - a list of 300 literals is harder to read


def sentence(rng: random.Random, words: int) -> str:
    """Return `words` words, common ones more often than rare ones, as in running text."""
    weights = [1 / rank for rank in range(1, len(WORDS) + 1)]
    return " ".join(rng.choices(WORDS, weights, k=words))
