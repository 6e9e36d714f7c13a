"""The Open Inference Protocol's messages for gRPC, made by protobuf itself out of the published fields."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LABEL = {
    "": descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    "*": descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED,
}
PROTO = {
    "ModelMetadataRequest": "1 name string; 2 version string",
    "ModelConfigRequest": "1 name string; 2 version string",
    "TensorMetadata": "1 name string; 2 datatype string; 3 shape int64*",
    "ModelMetadataResponse": (
        "1 name string; 2 versions string*; 3 platform string; 4 inputs TensorMetadata*; 5 outputs"
        " TensorMetadata*"
    ),
    "ModelConfig": "1 name string; 2 platform string; 4 max_batch_size int32",
    "ModelConfigResponse": "1 config ModelConfig",
    "InferTensorContents": (
        "1 bool_contents bool*; 2 int_contents int32*; 3 int64_contents int64*; 4 uint_contents uint32*; "
        "5 uint64_contents uint64*; 6 fp32_contents float*; 7 fp64_contents double*; 8 bytes_contents bytes*"
    ),
    "InferTensor": "1 name string; 2 datatype string; 3 shape int64*; 5 contents InferTensorContents",
    "InferRequestedOutputTensor": "1 name string",
    "ModelInferRequest": (
        "1 model_name string; 2 model_version string; 3 id string; 5 inputs InferTensor*; "
        "6 outputs InferRequestedOutputTensor*; 7 raw_input_contents bytes*"
    ),
    "ModelInferResponse": (
        "1 model_name string; 2 model_version string; 3 id string; 5 outputs InferTensor*; 6"
        " raw_output_contents bytes*"
    ),
}
"""The published messages, open_inference_grpc.proto, without what a test does not look at."""


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="inference.proto", package="inference", syntax="proto3")
    for name, result in PROTO.items():
        made = file.message_type.add(name=name)
        for one in result.split("; "):
            number, named, kind = one.split()
            plain = kind.rstrip("*")
            field_ = made.field.add(
                name=named, number=int(number), label=LABEL["*" if kind.endswith("*") else ""]
            )
            if plain in PROTO:
                field_.type, field_.type_name = field_.TYPE_MESSAGE, f".inference.{plain}"
            else:
                field_.type = getattr(field_, f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))
        for name in PROTO
    }


MESSAGES = _messages()
