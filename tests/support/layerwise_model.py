"""A layer-wise reranker as the Python file that a checkpoint brings, with the interface of published ones.

The interface is that of `LayerWiseMiniCPMForCausalLM` in FlagEmbedding. The tests copy this file beside the
weights, so it may use nothing but torch and transformers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class LayerwiseConfig(PretrainedConfig):  # type: ignore[misc]  # whose types are not read
    model_type = "tiny-layerwise"

    def __init__(self, vocab_size: int = 1, layers: int = 4, start_layer: int = 2, **rest: Any) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = 16
        self.num_hidden_layers = layers
        self.start_layer = start_layer
        self.max_position_embeddings = 512
        super().__init__(**rest)


class LayerWiseMiniCPMForCausalLM(PreTrainedModel):  # type: ignore[misc]  # as above
    config_class = LayerwiseConfig

    def __init__(self, config: LayerwiseConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            [nn.Linear(config.hidden_size, config.hidden_size) for _ in range(config.num_hidden_layers)]
        )
        heads = range(config.start_layer, config.num_hidden_layers + 1)
        self.lm_head = nn.ModuleList([nn.Linear(config.hidden_size, 1, bias=False) for _ in heads])
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        cutoff_layers: list[int] | None = None,
    ) -> Any:
        """Return logits of shape (rows, tokens) for each of the layers that are asked for."""
        hidden = self.embeddings(input_ids)
        logits = []
        for at, layer in enumerate(self.layers, start=1):
            positions = torch.arange(1, hidden.shape[1] + 1, device=hidden.device).view(1, -1, 1)
            hidden = hidden + torch.tanh(layer(hidden.cumsum(dim=1) / positions))
            if at in (cutoff_layers or [len(self.layers)]):
                logits.append(self.lm_head[at - self.config.start_layer](hidden).squeeze(-1))
        output: Any = CausalLMOutputWithPast
        return output(logits=tuple(logits))
