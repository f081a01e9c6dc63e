"""The exceptions of this package: one class an error of sandmux. Made by tools/gen-python-errors from
include/sandmux/errors.def; docs/errors.md lists them."""
import builtins
from typing import Dict, Type


class SandboxError(Exception):
    """Any failure of sandmux. str() is one sentence; hint says what to do; retryable: the same call may succeed later."""

    code = "internal"
    title = "Error"
    hint = ""
    retryable = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        if self.hint and hasattr(self, "add_note"):
            self.add_note(self.hint)

    @property
    def message(self) -> str:
        return str(self)

class InvalidRequestError(SandboxError, builtins.ValueError):
    code = "invalid_request"
    title = "Invalid request"
    hint = "Correct the named field and send the request again."
    retryable = False

class UnauthorizedError(SandboxError, builtins.PermissionError):
    code = "unauthorized"
    title = "Unauthorized"
    hint = "Send a valid API key; 'sandmux keys create' makes one."
    retryable = False

class ForbiddenError(SandboxError, builtins.PermissionError):
    code = "forbidden"
    title = "Forbidden"
    hint = "This caller may not do that; see the detail for what is required."
    retryable = False

class NotFoundError(SandboxError):
    code = "not_found"
    title = "Not found"
    hint = "Check the name or path; docs/api.md describes the API."
    retryable = False

class SandboxNotFoundError(NotFoundError):
    code = "sandbox_not_found"
    title = "Sandbox not found"
    hint = "List the sandboxes with 'sandmux ps'; it may have expired or been deleted."
    retryable = False

class SandboxFileNotFoundError(NotFoundError, builtins.FileNotFoundError):
    code = "file_not_found"
    title = "File not found"
    hint = "Check the path; relative paths start at /workspace."
    retryable = False

class ProcessNotFoundError(NotFoundError, builtins.ProcessLookupError):
    code = "process_not_found"
    title = "Process not found"
    hint = "It may have ended; list the processes of the sandbox."
    retryable = False

class MethodNotAllowedError(SandboxError):
    code = "method_not_allowed"
    title = "Method not allowed"
    hint = "Use one of the methods named in the Allow header."
    retryable = False

class ConflictError(SandboxError):
    code = "conflict"
    title = "Conflict"
    hint = "Choose another name, or use the one that exists."
    retryable = False

class StateConflictError(SandboxError):
    code = "state_conflict"
    title = "State conflict"
    hint = "The sandbox is in a state that does not allow this; start or resume it first."
    retryable = False

class PayloadTooLargeError(SandboxError):
    code = "payload_too_large"
    title = "Payload too large"
    hint = "Send less; the detail names the limit."
    retryable = False

class IdempotencyMismatchError(SandboxError):
    code = "idempotency_mismatch"
    title = "Idempotency key reused"
    hint = "Use a new Idempotency-Key for another request body."
    retryable = False

class IdempotencyInProgressError(SandboxError):
    code = "idempotency_in_progress"
    title = "Request in progress"
    hint = "The first request with this key is still running; wait and repeat it."
    retryable = True

class RateLimitedError(SandboxError):
    code = "rate_limited"
    title = "Too many requests"
    hint = "Wait as Retry-After says and repeat the request."
    retryable = True

class RuntimeNotConfiguredError(SandboxError):
    code = "runtime_not_configured"
    title = "Runtime not configured"
    hint = "Check that the target runtime is properly configured; verify that all required environment variables are set."
    retryable = False

class E2BAPIKeyInvalidError(SandboxError):
    code = "e2b_api_key_invalid"
    title = "E2B API key invalid"
    hint = "Verify that E2B_API_KEY is correct; check the E2B account's status and billing."
    retryable = False

class DaytonaAPIKeyInvalidError(SandboxError):
    code = "daytona_api_key_invalid"
    title = "Daytona API key invalid"
    hint = "Verify that DAYTONA_API_KEY is correct and belongs to DAYTONA_SERVER_URL."
    retryable = False

class TemplateNotFoundError(NotFoundError):
    code = "template_not_found"
    title = "Template not found"
    hint = "Ensure the template exists on this runtime; use \"base\" for the default template."
    retryable = False

class QuotaExceededError(SandboxError):
    code = "quota_exceeded"
    title = "Quota exceeded"
    hint = "Delete sandboxes that are not needed, or raise the limit named in the detail."
    retryable = False

class UnsupportedError(SandboxError, builtins.NotImplementedError):
    code = "unsupported"
    title = "Not supported"
    hint = "This runtime cannot do that; GET /api/runtime/status lists what each can."
    retryable = False

class ProviderUnavailableError(SandboxError, builtins.ConnectionError):
    code = "provider_unavailable"
    title = "Runtime unavailable"
    hint = "Run 'sandmux doctor'; the detail says what is missing or unreachable."
    retryable = True

class ProviderAmbiguousError(SandboxError):
    code = "provider_ambiguous"
    title = "Outcome unknown"
    hint = "The provider did not say whether it was done; look the sandbox up before trying again."
    retryable = True

class SandboxTimeoutError(SandboxError, builtins.TimeoutError):
    code = "timeout"
    title = "Timed out"
    hint = "Give it more time, or check why it takes so long."
    retryable = True

class PortClosedError(SandboxError):
    code = "port_closed"
    title = "Port closed"
    hint = "Start the server inside the sandbox and let it listen on that port."
    retryable = True

class OutOfDiskError(SandboxError, builtins.OSError):
    code = "out_of_disk"
    title = "Out of disk space"
    hint = "Delete files in the sandbox or sandboxes on the host, or raise the disk limit."
    retryable = False

class RuntimeLoopsToSelfError(SandboxError):
    code = "runtime_loops_to_self"
    title = "Runtime loops to itself"
    hint = "The provider's URL leads back to this server; point it elsewhere."
    retryable = False

class CancelledError(SandboxError):
    code = "cancelled"
    title = "Cancelled"
    hint = "The caller left or the server is stopping; repeat the request."
    retryable = True

class ConnectionClosedError(SandboxError, builtins.ConnectionError):
    code = "connection_closed"
    title = "Connection closed"
    hint = "The other side closed the connection; repeat the request."
    retryable = True

class ProtocolError(SandboxError):
    code = "protocol_error"
    title = "Protocol error"
    hint = "The other side broke the protocol; the detail says how."
    retryable = False

class BusyError(SandboxError):
    code = "busy"
    title = "Busy"
    hint = "It is in use by another process; the detail names it."
    retryable = True

class NoMemoryError(SandboxError, builtins.MemoryError):
    code = "no_memory"
    title = "Out of memory"
    hint = "Free memory on the host and repeat the request."
    retryable = True

class InputOutputError(SandboxError, builtins.OSError):
    code = "io_error"
    title = "Input/output error"
    hint = "The detail gives the operating system's reason."
    retryable = False

class InternalError(SandboxError):
    code = "internal"
    title = "Internal error"
    hint = "This is a fault of sandmux; please report it with the request id."
    retryable = False

BY_CODE: Dict[str, Type[SandboxError]] = {
    "invalid_request": InvalidRequestError,
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "not_found": NotFoundError,
    "sandbox_not_found": SandboxNotFoundError,
    "file_not_found": SandboxFileNotFoundError,
    "process_not_found": ProcessNotFoundError,
    "method_not_allowed": MethodNotAllowedError,
    "conflict": ConflictError,
    "state_conflict": StateConflictError,
    "payload_too_large": PayloadTooLargeError,
    "idempotency_mismatch": IdempotencyMismatchError,
    "idempotency_in_progress": IdempotencyInProgressError,
    "rate_limited": RateLimitedError,
    "runtime_not_configured": RuntimeNotConfiguredError,
    "e2b_api_key_invalid": E2BAPIKeyInvalidError,
    "daytona_api_key_invalid": DaytonaAPIKeyInvalidError,
    "template_not_found": TemplateNotFoundError,
    "quota_exceeded": QuotaExceededError,
    "unsupported": UnsupportedError,
    "provider_unavailable": ProviderUnavailableError,
    "provider_ambiguous": ProviderAmbiguousError,
    "timeout": SandboxTimeoutError,
    "port_closed": PortClosedError,
    "out_of_disk": OutOfDiskError,
    "runtime_loops_to_self": RuntimeLoopsToSelfError,
    "cancelled": CancelledError,
    "connection_closed": ConnectionClosedError,
    "protocol_error": ProtocolError,
    "busy": BusyError,
    "no_memory": NoMemoryError,
    "io_error": InputOutputError,
    "internal": InternalError,
}

ConfigError = RuntimeNotConfiguredError


def make(code: str, message: str) -> SandboxError:
    """The exception of an error's name; of a name that is not known, InternalError."""
    cls = BY_CODE.get(code, InternalError)
    if issubclass(cls, NotFoundError) and "not found" not in message.lower():
        message += " (not found)"
    return cls(message or cls.title)
