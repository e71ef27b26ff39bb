"""Rows from Arrow, as which the libraries that run inside Python give their answers."""

import pyarrow


def rows(table: pyarrow.Table) -> list[tuple]:
    columns = [values(column) for column in table.columns]
    return list(zip(*columns)) if columns else []


def values(column: pyarrow.ChunkedArray) -> list:
    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_timestamp(column.type):
        column = column.cast(pyarrow.timestamp("ns", column.type.tz)).cast(pyarrow.int64())
    return column.to_pylist()
