"""`provider`: the runtime manager under the name that scripts use."""
from .runtime_manager import runtime_manager as provider

__all__ = ["provider"]
