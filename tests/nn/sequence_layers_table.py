"""Table of combinators and of layers for sequences."""

from __future__ import annotations

from layertable import Layer

# fmt: off
LAYERS = [
    Layer("SkipConnection", lambda nn: nn.SkipConnection(nn.Linear(3, 3)), (2, 3), (2, 3), torch=False),
    Layer("SkipConnection, cat", lambda nn: nn.SkipConnection(nn.Linear(3, 2), "cat"), (2, 3), (2, 5), torch=False),
    Layer("Parallel", lambda nn: nn.Parallel("mul", nn.Linear(3, 2), nn.Linear(3, 2)), (2, 3), (2, 2), torch=False),
    Layer("Parallel, two inputs", lambda nn: nn.Parallel("mean", nn.Linear(3, 2), nn.Linear(4, 2)), (2, 3), (2, 2), more=((2, 4),), torch=False),
    Layer("PairwiseFusion", lambda nn: nn.PairwiseFusion("sub", nn.Linear(3, 3), nn.Linear(3, 2)), (2, 3), (2, 3), more=((2, 3),), torch=False),
    Layer("Maxout", lambda nn: nn.Maxout(nn.Linear(3, 4), nn.Linear(3, 4)), (2, 3), (2, 4), torch=False),
    Layer("Scale", lambda nn: nn.Scale(3), (2, 3), (2, 3), torch=False),
    Layer("SinusoidalPositions", lambda nn: nn.SinusoidalPositions(4, 9), (2, 3, 4), (2, 3, 4), torch=False),
    Layer("LearnedPositions", lambda nn: nn.LearnedPositions(5, 4), (2, 3, 4), (2, 3, 4), torch=False),
    Layer("RotaryPositions", lambda nn: nn.RotaryPositions(4, 9), (2, 3, 4), (2, 3, 4), torch=False),
    Layer("ClassToken", lambda nn: nn.ClassToken(4), (2, 3, 4), (2, 4, 4), torch=False),
    Layer("LastStep", lambda nn: nn.LastStep(), (2, 3, 4), (2, 4), torch=False),
    Layer("LastStep, both ways", lambda nn: nn.LastStep(bidirectional=True), (2, 3, 4), (2, 4), torch=False),
    Layer("RNN", lambda nn: nn.RNN(3, 2), (4, 2, 3), (4, 2, 2)),
    Layer("RNN, all settings", lambda nn: nn.RNN(3, 2, 2, "relu", False, True, 0.0, True), (2, 4, 3), (2, 4, 4)),
    Layer("LSTM", lambda nn: nn.LSTM(3, 2), (4, 2, 3), (4, 2, 2)),
    Layer("LSTM, two layers both ways", lambda nn: nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True), (2, 4, 3), (2, 4, 4)),
    Layer("LSTM, dropout", lambda nn: nn.LSTM(3, 8, 2, dropout=0.5), (4, 2, 3), (4, 2, 8), True, True),
    Layer("LSTM, one sequence", lambda nn: nn.LSTM(3, 2, bias=False), (4, 3), (4, 2)),
    Layer("GRU", lambda nn: nn.GRU(3, 2), (4, 2, 3), (4, 2, 2)),
    Layer("GRU, all settings", lambda nn: nn.GRU(3, 2, 2, False, True, 0.0, True), (2, 4, 3), (2, 4, 4)),
    Layer("RNNCell", lambda nn: nn.RNNCell(3, 2), (4, 3), (4, 2)),
    Layer("RNNCell, relu", lambda nn: nn.RNNCell(3, 2, False, "relu"), (3,), (2,)),
    Layer("LSTMCell", lambda nn: nn.LSTMCell(3, 2), (4, 3), (4, 2)),
    Layer("GRUCell", lambda nn: nn.GRUCell(3, 2), (4, 3), (4, 2)),
    Layer("Embedding", lambda nn: nn.Embedding(5, 3), (2, 4), (2, 4, 3), ints=5),
    Layer("Embedding, padding", lambda nn: nn.Embedding(5, 3, padding_idx=1, scale_grad_by_freq=True), (2, 4), (2, 4, 3), ints=5),
    Layer("EmbeddingBag", lambda nn: nn.EmbeddingBag(5, 3), (2, 4), (2, 3), ints=5),
    Layer("EmbeddingBag, max", lambda nn: nn.EmbeddingBag(5, 3, mode="max"), (2, 4), (2, 3), ints=5),
    Layer("MultiheadAttention", lambda nn: nn.MultiheadAttention(4, 2), (3, 2, 4), (3, 2, 4), more=((5, 2, 4), (5, 2, 4))),
    Layer("MultiheadAttention, widths", lambda nn: nn.MultiheadAttention(4, 2, bias=False, kdim=3, vdim=5, batch_first=True), (2, 3, 4), (2, 3, 4), more=((2, 6, 3), (2, 6, 5))),
    Layer("MultiheadAttention, one", lambda nn: nn.MultiheadAttention(4, 1), (3, 4), (3, 4), more=((2, 4), (2, 4))),
    Layer("TransformerEncoderLayer", lambda nn: nn.TransformerEncoderLayer(4, 2, 6, 0.0), (3, 2, 4), (3, 2, 4)),
    Layer("TransformerEncoderLayer, all settings", lambda nn: nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", 0.1, True, True, False), (2, 3, 4), (2, 3, 4)),
    Layer("TransformerEncoderLayer, dropout", lambda nn: nn.TransformerEncoderLayer(4, 2, 6, 0.4), (3, 2, 4), (3, 2, 4), True, True),
    Layer("TransformerDecoderLayer", lambda nn: nn.TransformerDecoderLayer(4, 2, 6, 0.0), (3, 2, 4), (3, 2, 4), more=((2, 2, 4),)),
    Layer("TransformerDecoderLayer, norm first", lambda nn: nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True, norm_first=True), (2, 3, 4), (2, 3, 4), more=((2, 5, 4),)),
    Layer("Transformer", lambda nn: nn.Transformer(4, 2, 1, 2, 6, 0.0, batch_first=True), (2, 3, 4), (2, 2, 4), more=((2, 2, 4),)),
    Layer("TransformerEncoder", lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), 2, nn.LayerNorm(4)), (2, 3, 4), (2, 3, 4)),
    Layer("TransformerDecoder", lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0), 2), (3, 2, 4), (3, 2, 4), more=((2, 2, 4),)),
]
