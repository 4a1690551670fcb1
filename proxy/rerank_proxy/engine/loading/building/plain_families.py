"""The families that are loaded without transformers: what their config.json may say. Imports torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from torch import nn

from rerank_proxy.engine.backends.plain import bert, deberta, distilbert, modernbert, mpnet
from rerank_proxy.engine.backends.plain.parts import Config

FIXED: Final[Mapping[str, tuple[Any, ...]]] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "pruned_heads": ({},),
    "return_dict": (True,),
    "torchscript": (False,),
}
"""What config.json may say in these ways only."""

WITHOUT_EFFECT: Final = frozenset(
    {
        "_name_or_path",
        "architectures",
        "attention_probs_dropout_prob",
        "bos_token_id",
        "classifier_dropout",
        "cls_token_id",
        "directionality",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "hidden_dropout_prob",
        "id2label",
        "initializer_range",
        "label2id",
        "output_past",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "problem_type",
        "sbert_ce_default_activation_function",
        "sep_token_id",
        "sentence_transformers",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""What config.json may say in any way, as it does not affect the output of an encoder with one label."""


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture."""

    name: str
    """That of its classes, in front of `Model` and `ForSequenceClassification`."""
    config: type[Config]
    encoder: Callable[[Any], nn.Module]
    classifier: Callable[[Any], nn.Module]
    prefix: str
    """Of the names of weights of the body, in the files of a model that has more."""
    pretraining: tuple[str, ...] = ("cls.",)
    """How the names of weights begin that only pre-training uses, besides poolers."""
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    without_effect: frozenset[str] = frozenset()

    @property
    def not_used(self) -> tuple[str, ...]:
        """How the names of weights begin that only pre-training and older versions use."""
        parts = ("pooler.", "embeddings.position_ids")
        return (*self.pretraining, *parts, *(f"{self.prefix}.{part}" for part in parts))


FAMILIES: Final[Mapping[str, Family]] = {
    "bert": Family("Bert", bert.BertConfig, bert.BertModel, bert.BertForSequenceClassification, "bert"),
    "roberta": Family(
        "Roberta",
        bert.BertConfig,
        bert.RobertaModel,
        bert.RobertaForSequenceClassification,
        "roberta",
        ("lm_head.",),
    ),
    "xlm-roberta": Family(
        "XLMRoberta",
        bert.BertConfig,
        bert.XLMRobertaModel,
        bert.XLMRobertaForSequenceClassification,
        "roberta",
        ("lm_head.",),
    ),
    "electra": Family(
        "Electra",
        bert.ElectraConfig,
        bert.ElectraModel,
        bert.ElectraForSequenceClassification,
        "electra",
        ("discriminator_predictions.", "generator_predictions.", "generator_lm_head."),
        without_effect=frozenset(
            {"summary_activation", "summary_last_dropout", "summary_type", "summary_use_proj"}
        ),
    ),
    "distilbert": Family(
        "DistilBert",
        distilbert.DistilBertConfig,
        distilbert.DistilBertModel,
        distilbert.DistilBertForSequenceClassification,
        "distilbert",
        ("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
        {"sinusoidal_pos_embds": (False,)},
        frozenset({"attention_dropout", "dropout", "qa_dropout", "seq_classif_dropout", "tie_weights_"}),
    ),
    "mpnet": Family(
        "MPNet",
        mpnet.MPNetConfig,
        mpnet.MPNetModel,
        mpnet.MPNetForSequenceClassification,
        "mpnet",
        ("lm_head.",),
    ),
    "modernbert": Family(
        "ModernBert",
        modernbert.ModernBertConfig,
        modernbert.ModernBertModel,
        modernbert.ModernBertForSequenceClassification,
        "model",
        ("head.", "decoder."),
        without_effect=frozenset(
            {
                "attention_dropout",
                "decoder_bias",
                "deterministic_flash_attn",
                "embedding_dropout",
                "initializer_cutoff_factor",
                "layer_norm_eps",
                "mlp_dropout",
                "reference_compile",
                "repad_logits_with_grad",
                "sparse_pred_ignore_index",
                "sparse_prediction",
            }
        ),
    ),
    "deberta-v2": Family(
        "DebertaV2",
        deberta.DebertaConfig,
        deberta.DebertaV2Model,
        deberta.DebertaV2ForSequenceClassification,
        "deberta",
        (
            "cls.",
            "lm_predictions.",
            "mask_predictions.",
            "embeddings.position_embeddings.",
            "deberta.embeddings.position_embeddings.",
        ),
        {"conv_kernel_size": (0,)},
        frozenset(
            {
                "cls_dropout",
                "legacy",
                "pooler_dropout",
                "summary_activation",
                "summary_first_dropout",
                "summary_last_dropout",
                "summary_type",
                "summary_use_proj",
            }
        ),
    ),
}
"""By the `model_type` of config.json."""
