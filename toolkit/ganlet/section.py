"""The closed, frozen table that recipes and the configs of networks are made of."""

from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of typed keys. An unknown key is an error, and no value changes after it was checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    redefined: ClassVar[tuple[str, ...]] = ()
    """Keys whose default a version has changed: `deciding` has them always, as what was made before is stale."""

    def deciding(self) -> dict[str, Any]:
        """The table as plain values, without those equal to their defaults, so that a key added by a new version makes
        no stage stale; where a version has changed a default, in here or below, the value stands there all the same.
        """
        plain = self.model_dump(mode="json", by_alias=True)
        table = {}
        for name, field in type(self).model_fields.items():
            value, key = getattr(self, name), field.alias or name
            below = _deciding(value, plain[key])
            unlike = value != field.get_default(call_default_factory=True)
            if unlike or name in self.redefined or (isinstance(value, Section) and below):
                table[key] = below
        return table


def _deciding(value: object, plain: object) -> object:
    if isinstance(value, Section):
        return value.deciding()
    if isinstance(value, tuple):
        return [_deciding(one, as_plain) for one, as_plain in zip(value, cast(list[object], plain), strict=True)]
    return plain
