"""Makes the requests in this directory, with the messages that OpenTelemetry itself publishes for Python.

    pip install opentelemetry-proto
    python make.py

Each is there as protobuf and as JSON; the JSON has ids in hexadecimal digits, as the protocol says.
"""

import base64
import json
import pathlib

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

T0 = 1_700_000_000_000_000_000


def any_value(value):
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[any_value(it) for it in value]))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=attributes(value)))
    return AnyValue()


def attributes(pairs):
    return [KeyValue(key=key, value=any_value(value)) for key, value in pairs.items()]


def metrics():
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add(schema_url="https://opentelemetry.io/schemas/1.30.0")
    of_resource.resource.attributes.extend(
        attributes({
            "service.name": "shop",
            "service.namespace": "prod",
            "service.instance.id": "shop-1",
            "host.name": "a",
            "process.pid": 42,
        })
    )
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = "meter"
    of_scope.scope.version = "1.2"

    gauge = of_scope.metrics.add(name="system.memory.usage", unit="By", description="Memory in use.").gauge
    point = gauge.data_points.add(time_unix_nano=T0 + 1, as_int=1 << 40)
    point.attributes.extend(attributes({"state": "used", "time": "t", "numa.node": 3}))
    point = gauge.data_points.add(time_unix_nano=T0 + 2, as_double=0.5)
    point.attributes.extend(attributes({"state": "free", "list": ["x", 1], "a.b": "1", "a_b": "2"}))
    point = gauge.data_points.add(time_unix_nano=T0 + 3, flags=1)
    point.attributes.extend(attributes({"state": "used", "time": "t", "numa.node": 3}))

    total = of_scope.metrics.add(name="http.requests", unit="{request}").sum
    total.aggregation_temporality = 2
    total.is_monotonic = True
    point = total.data_points.add(start_time_unix_nano=T0, time_unix_nano=T0 + 1, as_int=7)
    point.attributes.extend(attributes({"http.request.method": "GET", "ok": True}))
    exemplar = point.exemplars.add(time_unix_nano=T0, as_int=1, span_id=b"\1" * 8, trace_id=b"\2" * 16)
    exemplar.filtered_attributes.extend(attributes({"user": "u"}))

    histogram = of_scope.metrics.add(name="latency", unit="s").histogram
    histogram.aggregation_temporality = 1
    histogram.data_points.add(
        start_time_unix_nano=T0,
        time_unix_nano=T0 + 1,
        count=6,
        sum=1.25,
        min=0.05,
        max=0.75,
        explicit_bounds=[0.1, 0.5],
        bucket_counts=[1, 3, 2],
    )
    histogram.data_points.add(start_time_unix_nano=T0, time_unix_nano=T0 + 2, count=2)

    exponential = of_scope.metrics.add(name="size", unit="By").exponential_histogram
    exponential.aggregation_temporality = 2
    point = exponential.data_points.add(
        start_time_unix_nano=T0,
        time_unix_nano=T0 + 1,
        count=11,
        sum=100.5,
        min=-4.0,
        max=64.0,
        scale=-2,
        zero_count=1,
        zero_threshold=0.001,
    )
    point.positive.offset = -3
    point.positive.bucket_counts.extend([1, 0, 300])
    point.negative.offset = 4
    point.negative.bucket_counts.extend([5])

    summary = of_scope.metrics.add(name="gc", unit="s").summary
    point = summary.data_points.add(start_time_unix_nano=T0, time_unix_nano=T0 + 1, count=5, sum=2.5)
    point.quantile_values.add(quantile=0.5, value=0.25)
    point.quantile_values.add(quantile=0.99, value=float("nan"))

    other = request.resource_metrics.add().scope_metrics.add()
    point = other.metrics.add(name="system.memory.usage").gauge.data_points.add(time_unix_nano=T0, as_double=-1.0)
    other.metrics.add(name="empty").gauge.SetInParent()
    return request


def logs():
    request = ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    of_resource.resource.attributes.extend(attributes({"service.name": "shop", "host.name": "a"}))
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name = "logger"
    record = of_scope.log_records.add(
        time_unix_nano=T0 + 1,
        observed_time_unix_nano=T0 + 5,
        severity_number=17,
        severity_text="ERROR",
        trace_id=bytes(range(16)),
        span_id=bytes(range(8, 16)),
        flags=1,
        event_name="order.failed",
        dropped_attributes_count=2,
    )
    record.body.CopyFrom(any_value('It "failed": ä'))
    record.attributes.extend(
        attributes({
            "order.id": 1 << 60,
            "ratio": 0.25,
            "ok": False,
            "tags": ["a", None, {"k": "v"}],
            "raw": b"\0\xff",
            "nothing": None,
        })
    )
    record = of_scope.log_records.add(observed_time_unix_nano=T0 + 6, severity_number=9)
    record.body.CopyFrom(any_value({"message": "hi", "count": 3}))
    record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=T0 + 7)
    return request


def hexadecimal(value):
    """Ids as the protocol has them in JSON, where protobuf would have base64."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(it).hex() if key in ("traceId", "spanId") else hexadecimal(it)
            for key, it in value.items()
        }
    return [hexadecimal(it) for it in value] if isinstance(value, list) else value


def write(name, request):
    directory = pathlib.Path(__file__).parent
    (directory / f"{name}.bin").write_bytes(request.SerializeToString(deterministic=True))
    options = dict(use_integers_for_enums=True)
    text = json.dumps(hexadecimal(json_format.MessageToDict(request, **options)), indent=1, ensure_ascii=False)
    (directory / f"{name}.json").write_text(text + "\n")


write("metrics", metrics())
write("logs", logs())
