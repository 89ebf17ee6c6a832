"""Training a landmark network: the lecture's "parameters determined by matching hand-labelled data".

Three parts that want three different derivatives:

| part | file | differentiated with respect to |
|---|---|---|
| preprocess: crop, augmentation | `augmentation.py`, `scenery.py` | nothing |
| network | `network.py` | its parameters while training, its input in the chain |
| postprocess: heatmap → point | `heatmap.py` | its input; it has no parameters |

`detector.py` puts network and postprocess together as a layer of the chain. `data.py` and `synthesis.py` are
where labelled pictures come from, `loop.py` and `checkpoint.py` train and can be killed at any moment.
"""
