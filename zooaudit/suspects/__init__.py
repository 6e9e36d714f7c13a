"""Any model as a black box: from a file, a library, ONNX, or behind an API."""
