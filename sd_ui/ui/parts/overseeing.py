"""The panel System, behind the line about the engine: looked at anew whenever it is opened, or asked to look again."""

from sd_ui.services import Services
from sd_ui.system import Speed, System, ago, system
from sd_ui.ui import views
from sd_ui.ui.layout import Layout
from sd_ui.ui.parts.quiet import LAST


def wire(services: Services, layout: Layout) -> None:
    def look() -> views.View:
        return shown(system(services))

    layout.engine.open(look, None, layout.system, **LAST)
    layout.system.again(look, None, layout.system, **LAST)


def shown(found: System) -> views.View:
    return {
        "missing": [{"name": one.name, "says": one.says, "remedy": one.remedy, "fault": one.fault} for one in found.missing],
        "sections": [{"title": part.title, "rows": [[one.name, one.says, one.fault] for one in part.findings]} for part in found.sections],
        "speeds": [speed(one) for one in found.speeds],
    }


def speed(one: Speed) -> views.View:
    loading = "" if one.loading is None else f"{one.loading:.1f} s to load"
    how = ", ".join(part for part in (one.dtype, one.policy) if part)
    runs = f"{one.runs} job{'s' if one.runs > 1 else ''}"
    facts = [f"{one.picture:.1f} s a picture of {one.steps} calls", loading, how, one.device, runs, ago(one.when)]
    rate = f"{one.calls:.1f} it/s" if one.calls >= 1 else f"{1 / one.calls:.1f} s/it"
    return {
        "model": one.model,
        "size": f"{one.width}×{one.height}" + ("" if one.guided else ", CFG 1"),
        "rate": rate,
        "facts": " · ".join(fact for fact in facts if fact),
    }
