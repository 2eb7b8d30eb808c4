#!/usr/bin/env bash
# Versions: openvino 2026.4.1, onnx 1.23.2, numpy 2.4.6, Python 3.11, Linux.
# Behaviour: a valid ONNX file whose tensors are in a second file, named by its absolute path, opens from bytes
#   (`Core.read_model(bytes)`) while the process stands in a directory above that file, and is refused after a chdir
#   elsewhere: the working directory is the base that external data may not leave, and a library that opens models
#   can't know where its process stands.
# Output seen:
#   standing above the data: read
#   standing elsewhere: refused, outside the base directory
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet openvino==2026.4.1 onnx==1.23.2 numpy==2.4.6
cat > "$folder/show.py" <<'PY'
import os
import sys

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

where = os.path.realpath(sys.argv[1])
data = os.path.join(where, "data", "weights.bin")
os.makedirs(os.path.dirname(data))
bias = numpy_helper.from_array(np.arange(4, dtype=np.float32), "bias")
with open(data, "wb") as file:
    file.write(bias.raw_data)
onnx.external_data_helper.set_external_data(bias, data, offset=0, length=len(bias.raw_data))
bias.ClearField("raw_data")
bias.data_location = TensorProto.EXTERNAL
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
graph = helper.make_graph([helper.make_node("Add", ["x", "bias"], ["y"])], "g", [x], [y], [bias])
content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

seen = []
for label, directory in (("above the data", where), ("elsewhere", "/usr")):
    os.chdir(directory)
    try:
        ov.Core().read_model(content)
        seen.append("read")
    except RuntimeError as exc:
        seen.append("refused, outside the base directory" if "outside the base directory" in str(exc) else "refused")
    print(f"standing {label}: {seen[-1]}")
sys.exit(seen != ["read", "refused, outside the base directory"])
PY
"$folder/venv/bin/python" "$folder/show.py" "$folder"
