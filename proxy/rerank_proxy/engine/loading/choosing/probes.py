"""Queries and texts with which two ways to run a model are compared.

Ten texts of different length about each of four topics, from an answer to the topic's query to what only
shares a word with it: then every query has texts of all degrees of relevance, and the order of the best ten
does not hang on texts that are all equally far from it.
"""

from typing import Final

QUERIES: Final = (
    "how do bees find their way back to the hive",
    "why did the bridge collapse in strong wind",
    "what is a safe way to store passwords in a database",
    "welche Vorteile hat ein Zug gegenüber einem Flugzeug?",
)

TEXTS: Final = (
    # Bees
    "Honey bees find their way back by the position of the sun, by polarised light when it is behind clouds, "
    "and by landmarks near the hive that they learn on short flights when they first leave it.",
    "A forager that has been carried a few kilometres away in a dark box still flies home: it compares what "
    "it sees with views that it remembers, and keeps count of directions and distances on its way. "
    "Experiments with small radar transponders show flights in straight lines over ground that the bee has "
    "never crossed before, which speaks for something like a map.",
    "Bees use the sun as a compass.",
    "The waggle dance tells other bees the direction and the distance of flowers.",
    "Ants count their steps and remember the angles of turns when they return to the nest.",
    "The hive is opened on a warm day without wind. The keeper blows a little smoke into the entrance, lifts "
    "the lid, and looks for the queen, for eggs and for stores of honey before the cold season.",
    "Homing pigeons may sense the magnetic field of the earth.",
    "Honey keeps for years in a closed jar because it holds so little water.",
    "A queue that holds many tasks is sometimes called a hive of activity.",
    "bees",
    # The bridge
    "The deck of the bridge was narrow and light. In a steady wind of 68 kilometres an hour it began to "
    "twist, each twist let the wind feed more energy into the motion, and within an hour the hangers "
    "broke and the middle of the span fell into the strait.",
    "It failed by aeroelastic flutter, not by resonance with gusts, as schoolbooks have it.",
    "After the collapse, models of new suspension bridges were tested in wind tunnels. Engineers gave decks "
    "open trusses or the profile of a wing, so that vortices would not shake them, and stiffened them "
    "against torsion. Long spans built since then have stood in storms far stronger than the one that "
    "brought down the first.",
    "The wind made the bridge sway until it broke.",
    "A dam collapsed in 1959 after days of heavy rain; the rock below its left side had given way.",
    "Strong wind is expected on the coast tonight, with gusts of up to 110 kilometres an hour. Ferries will "
    "not run, and high vehicles should keep off the bridge.",
    "The toll for the bridge is four euros in either direction.",
    "A dentist makes a bridge when a tooth is missing between two others.",
    "Card games of the bridge family are played by two pairs.",
    "Steel, concrete and stone are what most bridges are made of.",
    # Passwords
    "Never store passwords themselves: store a salted hash made by a slow function such as Argon2id or "
    "bcrypt, with a salt of its own for each user, and raise the cost as machines become faster.",
    "A salt keeps an attacker from using one table of hashes for all users.",
    "A stolen table of plain SHA-1 hashes can be searched at billions of guesses per second on one graphics "
    "card. That is why a fast hash is not enough: functions made for passwords are slow on purpose and need "
    "much memory, so that each guess costs the attacker as much as a login costs the server. A secret key "
    "kept outside of the database, called a pepper, helps if only the database is stolen.",
    "Use bcrypt with a cost of at least twelve.",
    "Encrypt the connection to the database, and give each application an account with few rights.",
    "Choose a password of four random words, and let a password manager remember it for you.",
    "The database keeps orders, customers and invoices; a backup is made every night at three.",
    "Your password expires in seven days.",
    "The safe in the hotel room is opened with a code of four digits.",
    "Indexes make reading faster and writing slower.",
    # Trains
    "Ein Zug fährt von Stadtmitte zu Stadtmitte, ohne lange Wege zum Flughafen und ohne Kontrollen; auf "
    "Strecken bis etwa 600 Kilometer ist er deshalb oft schneller, und er stößt je Reisenden viel weniger "
    "Kohlendioxid aus.",
    "Im Zug kann man arbeiten, essen und herumgehen.",
    "Züge brauchen weniger Energie als Flugzeuge, weil Stahlräder auf Schienen leicht rollen. Dazu kommt, "
    "dass der Strom aus Wind und Wasser kommen kann. Auf langen Strecken über das Meer gibt es freilich "
    "keine Wahl, und wo keine schnelle Strecke gebaut ist, dauert die Reise leicht doppelt so lange.",
    "A night train saves a hotel and arrives in the centre of the city in the morning.",
    "Flugzeuge sind auf Strecken von mehr als tausend Kilometern schneller.",
    "Le train part à sept heures de la gare du Nord et arrive à midi.",
    "Der Zug hatte wegen einer Störung am Stellwerk vierzig Minuten Verspätung.",
    "Trains of thought are hard to follow when one is tired.",
    "飛行機は速いが、電車は駅が町の中にあるので便利だ。",
    "Zugvögel fliegen im Herbst nach Süden.",
)
