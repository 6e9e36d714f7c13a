"""A server of the Open Inference Protocol as strict as Triton: over HTTP with the binary extension, and over
gRPC with protobuf's own messages, so that no byte is read by the code that wrote it."""

import json
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import torch
from torch import nn

from tests.support.inference_messages import MESSAGES
from tests.support.scripted import Asked, Reply, scripted
from tests.support.strangers import read_png

TYPES = {"UINT8": "u1", "INT8": "i1", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}
FIELDS = {
    "bool": "bool_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


class Refused(Exception):
    """What Triton answers with status 400."""


@dataclass
class Triton:
    """A model behind the protocol.

    Attributes:
        shape: of the input, as the metadata tell; None tells none.
        divide: pixels are divided by it, then ``shift`` is added, before the model sees them.
        most: ``max_batch_size``; None has no configuration.
        outputs: names, datatypes and shapes; the first is the model's.
        binary: whether it has the binary extension; ``raw`` whether gRPC answers are raw.
        largest: bytes that a gRPC message may have.
    """

    model: nn.Module
    datatype: str = "FP32"
    shape: list[int] | None = field(default_factory=lambda: [-1, 1, 4, 4])
    divide: float = 1.0
    shift: float = 0.0
    most: int | None = None
    outputs: list[tuple[str, str, list[int]]] = field(default_factory=lambda: [("p", "FP32", [-1, 4])])
    inputs: list[dict[str, Any]] = field(default_factory=list)
    binary: bool = True
    raw: bool = True
    largest: int = 4 * 2**20
    key: str = ""
    trouble: list[Any] = field(default_factory=list)
    """gRPC: statuses with their texts that come first."""
    batches: list[int] = field(default_factory=list)
    bodies: list[bool] = field(default_factory=list)
    """Of each request, whether it was binary."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def metadata(self) -> dict[str, Any]:
        about = {"name": "pixels", "datatype": self.datatype} | ({"shape": self.shape} if self.shape else {})
        return {
            "name": "m",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [about, *self.inputs],
            "outputs": [{"name": n, "datatype": d, "shape": s} for n, d, s in self.outputs],
        }

    def infer(
        self, name: str, datatype: str, shape: list[int], values: Any, wanted: list[str]
    ) -> list[tuple[str, str, np.ndarray]]:
        """Values: raw bytes or a list."""
        if name != "pixels":
            raise Refused(f"unexpected inference input '{name}' for model 'm'")
        if datatype != self.datatype:
            raise Refused(
                f"inference input data-type is '{datatype}', model expects '{self.datatype}' for 'm'"
            )
        fits = self.shape is None or (
            len(shape) == len(self.shape)
            and all(s in (-1, g) for s, g in zip(self.shape, shape, strict=True))
        )
        if not fits:
            raise Refused(
                f"unexpected shape for input 'pixels' for model 'm'. Expected {self.shape}, got {shape}"
            )
        if self.most and shape[0] > self.most:
            raise Refused(f"inference request batch-size must be <= {self.most} for 'm'")
        images = self.read(shape, values)
        with self.lock:
            self.batches.append(len(images))
        with torch.no_grad():
            p = self.model(images).softmax(1).numpy()
        extra = np.arange(len(images) * 3, dtype=np.float32).reshape(-1, 3)
        rows = [(n, d, p if i == 0 else extra) for i, (n, d, _) in enumerate(self.outputs)]
        return [(n, d, v.astype(TYPES[d])) for n, d, v in rows if not wanted or n in wanted]

    def read(self, shape: list[int], values: Any) -> torch.Tensor:
        if self.datatype == "BYTES":
            files, at = [], 0
            while at < len(values):
                (length,) = struct.unpack_from("<I", values, at)
                files.append(values[at + 4 : at + 4 + length])
                at += 4 + length
            assert len(files) == shape[0]
            return torch.cat([read_png(f) for f in files])
        flat = np.frombuffer(values, TYPES[self.datatype]) if isinstance(values, bytes) else np.array(values)
        given = torch.from_numpy(flat.reshape(shape).astype(np.float64)).float() / self.divide + self.shift
        last = shape[-1] == 1 and len(shape) == 4
        return (given.permute(0, 3, 1, 2) if last else given).reshape(-1, 1, 4, 4)

    # HTTP

    def script(self, asked: Asked) -> Reply:
        data: Any = {
            "/v2": {
                "name": "triton",
                "extensions": ["model_configuration"] + (["binary_tensor_data"] if self.binary else []),
            },
            "/v2/models/m": self.metadata(),
            "/v2/models/m/config": None if self.most is None else {"max_batch_size": self.most},
        }
        if asked.method == "GET":
            found = data.get(asked.path)
            return (200, {}, json.dumps(found).encode()) if found else (404, {}, b"")
        try:
            return self.posted(asked)
        except Refused as error:
            return 400, {}, json.dumps({"error": str(error)}).encode()

    def posted(self, asked: Asked) -> Reply:
        length = asked.headers.get("Inference-Header-Content-Length")
        head = json.loads(asked.body[: int(length)] if length else asked.body)
        (tensor,) = head["inputs"]
        if length:
            assert self.binary
            values: Any = asked.body[int(length) :]
            assert len(values) == tensor["parameters"]["binary_data_size"]
        elif self.datatype in ("FP16", "BYTES") and self.binary:
            raise Refused("FP16 and files must be sent as binary data")
        else:
            values = tensor["data"]
        self.bodies.append(bool(length))
        wanted = head.get("outputs", [])
        packed = head.get("parameters", {}).get("binary_data_output", False) or any(
            o.get("parameters", {}).get("binary_data") for o in wanted
        )
        outputs, raws = [], []
        for name, kind, values_ in self.infer(
            tensor["name"], tensor["datatype"], tensor["shape"], values, [o["name"] for o in wanted]
        ):
            one: dict[str, Any] = {"name": name, "datatype": kind, "shape": list(values_.shape)}
            if packed:
                raws.append(values_.tobytes())
                one["parameters"] = {"binary_data_size": len(raws[-1])}
            else:
                one["data"] = values_.ravel().tolist()
            outputs.append(one)
        content = json.dumps({"model_name": "m", "outputs": outputs}).encode()
        return (
            200,
            {"Inference-Header-Content-Length": str(len(content))} if packed else {},
            content + b"".join(raws),
        )

    # gRPC

    def told(self, request: Any, context: Any) -> Any:
        self.guard(request, context)
        reply = MESSAGES["ModelMetadataResponse"](name="m", platform="onnx")
        for where, tensors in (
            ("inputs", self.metadata()["inputs"]),
            ("outputs", self.metadata()["outputs"]),
        ):
            for t in tensors:
                getattr(reply, where).add(name=t["name"], datatype=t["datatype"], shape=t.get("shape", []))
        return reply

    def config(self, request: Any, context: Any) -> Any:
        self.guard(request, context)
        if self.most is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        return MESSAGES["ModelConfigResponse"](config={"name": "m", "max_batch_size": self.most})

    def called(self, request: Any, context: Any) -> Any:
        self.guard(request, context)
        with self.lock:
            trouble = self.trouble.pop(0) if self.trouble else None
        if trouble:
            context.set_trailing_metadata(trouble[2:])
            context.abort(*trouble[:2])
        (tensor,), values = request.inputs, request.raw_input_contents[0]
        try:
            found = self.infer(
                tensor.name, tensor.datatype, list(tensor.shape), values, [o.name for o in request.outputs]
            )
        except Refused as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        reply = MESSAGES["ModelInferResponse"](model_name="m")
        for name, kind, one in found:
            output = reply.outputs.add(name=name, datatype=kind, shape=list(one.shape))
            if self.raw:
                reply.raw_output_contents.append(one.tobytes())
            else:
                getattr(output.contents, FIELDS[kind]).extend(one.ravel().tolist())
        return reply

    def guard(self, request: Any, context: Any) -> None:
        given = dict(context.invocation_metadata())
        if self.key and given.get("authorization") != f"Bearer {self.key}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        name = getattr(request, "model_name", "") or getattr(request, "name", "")
        if name != "m":
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {name!r}")


@contextmanager
def over_http(triton: Triton) -> Iterator[str]:
    with scripted(triton.script) as url:
        yield f"{url}/v2/models/m/infer"


@contextmanager
def over_grpc(triton: Triton, credentials: Any = None) -> Iterator[str]:
    """Its address, ``grpc://127.0.0.1:port/m``; ``grpcs://localhost:port/m`` with a server's credentials."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", triton.largest)])
    calls = {"ModelMetadata": triton.told, "ModelConfig": triton.config, "ModelInfer": triton.called}
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            call,
            request_deserializer=MESSAGES[f"{name}Request"].FromString,
            response_serializer=MESSAGES[f"{name}Response"].SerializeToString,
        )
        for name, call in calls.items()
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    port = (
        server.add_secure_port("127.0.0.1:0", credentials)
        if credentials
        else server.add_insecure_port("127.0.0.1:0")
    )
    server.start()
    try:
        yield f"grpcs://localhost:{port}/m" if credentials else f"grpc://127.0.0.1:{port}/m"
    finally:
        server.stop(None)
