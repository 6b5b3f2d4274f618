"""Why a job failed, as its owner is told."""

from sd_ui.jobs.keep import NotSaved
from sd_ui.spec.errors import BadRequest, is_out_of_memory
from sd_ui.spec.request import GenerationRequest


def reason_of(error: Exception, request: GenerationRequest | None = None) -> str:
    """Why something failed, in the words of whoever asked, with advice where there is some."""
    if isinstance(error, BadRequest | NotSaved):
        return str(error)
    if is_out_of_memory(error):
        what = f" for {request.width}x{request.height}" if request else ""
        help = "Try a smaller picture or a smaller model, or close other programs"
        return f"There is not enough memory{what}. {help}: it was used as sparingly as this program can. ({error})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
