"""Python imports this at start when its folder is on PYTHONPATH: refuse the network, then do what was there before."""

import importlib.machinery
import importlib.util
import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))

if os.environ.get("LABKIT_OFFLINE") == "1":
    _spec = importlib.util.spec_from_file_location("_labkit_network", os.path.join(os.path.dirname(_here), "network.py"))
    assert _spec is not None
    assert _spec.loader is not None
    _network = importlib.util.module_from_spec(_spec)
    sys.modules["_labkit_network"] = _network
    _spec.loader.exec_module(_network)
    _network.refuse()

# This file hides whatever sitecustomize the machine had; that one still gets its turn.
_others = [path for path in sys.path if os.path.abspath(path) != _here]
_next = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _next is not None and _next.loader is not None:
    _module = importlib.util.module_from_spec(_next)
    _next.loader.exec_module(_module)
