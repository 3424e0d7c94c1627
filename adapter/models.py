"""
The bridge to fhir.resources, for programs that work with its models. No other module knows them.

Its R4B models are those of R4 for every resource that the adapter maps: on the wire they are the same. One thing they
cannot hold is how many digits a decimal was written with; no resource of the adapter has decimals.
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.resource import Resource as Model
from pydantic import ValidationError

from adapter.errors import Fault, Invalid
from adapter.mapping import Package, Resource
from adapter.wire import json

__all__ = ["Model", "from_models", "to_models"]


def to_models(package: Package) -> tuple[Model, ...]:
    """
    The resources of a package as models, in their order.

    Raises:
        Invalid: ``model.refused``: fhir.resources does not accept one of them.
    """
    return tuple(_model(resource) for resource in package.resources)


def from_models(models: Iterable[Model]) -> tuple[Resource, ...]:
    """
    The resources that models stand for, as ``Mapper.from_fhir`` takes them. One Bundle stands for what is in it.

    Raises:
        Invalid: ``model.other-release``: a model of R5 or STU3, or none at all.
    """
    return tuple(found for number, model in enumerate(models) for found in _resources(number, model))


def _model(resource: Resource) -> Model:
    name = str(resource.get("resourceType", ""))
    try:
        model = get_fhir_model_class(name).model_validate(resource)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        faults = [Fault("model.refused", _place(name, each["loc"]), each["type"]) for each in found]
    except (KeyError, ValueError):
        faults = [Fault("model.refused", "resourceType")]
    else:
        if isinstance(model, Model):
            return model
        faults = [Fault("model.refused", "resourceType", "a data type, not a resource")]
    raise Invalid(faults)


def _place(name: str, location: Iterable[str | int]) -> str:
    """Where something was found, without names that are no element's: those may be anything."""
    return ".".join(
        [name, *(str(step) if str(step).isidentifier() or isinstance(step, int) else "-" for step in location)]
    )


def _resources(number: int, model: Model) -> list[Resource]:
    if not isinstance(model, Model):
        raise Invalid(Fault("model.other-release", f"models[{number}]"))
    resource: Resource = json.read(model.model_dump_json().encode())
    if resource["resourceType"] != "Bundle":
        return [resource]
    return [entry["resource"] for entry in resource.get("entry", ()) if "resource" in entry]
