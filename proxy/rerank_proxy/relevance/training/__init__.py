"""A reranker of one's own, trained on judgments, clicks or a teacher's scores.

The stages of a run, each with its module:

1. what there is: queries, judgments, what the first stage finds for each query, the texts, and a teacher's
   scores (`collecting.py`, `material.py`), and titles as further queries (`titles.py`);
2. which recipe fits the amount of it (`choice.py`);
3. which queries a model is trained with, and which it never sees (`splitting.py`);
4. the recipe: weights of a fusion (`fusing.py`), a layer above a frozen bi-encoder (`heads.py`), a bi-encoder
   (`bi_encoders.py`), a cross-encoder (`cross_encoders.py`, `losses.py`), with hard negatives
   (`negatives.py`);
5. whether the outcome is better, on queries it was not trained with (`assessing.py`);
6. the directory with the model, its card, and the template of a search (`results.py`, `card.py`), in forms
   that other programs read (`portable.py`).

torch and sentence-transformers are imported by the modules of stage 4 alone, when a recipe takes them.
"""
