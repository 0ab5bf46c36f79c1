"""A trained model behind an address: what `minidl serve` runs.

`served_model` is a model with what is told of it, `inputs` checks what is sent against it, and
`batching` joins what arrives together: none of them knows of HTTP. `app` is the HTTP side, `bodies`
reads requests within limits, `answering` leads from one to the model's answer, `instruments` counts
and times them, `page` explains them to a reader, and `server` listens. The training service
(`minidl.service`) is made of the same parts.
"""
