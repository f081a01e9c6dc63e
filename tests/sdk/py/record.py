"""Records which methods of the SDK's classes were used, so that one that no case ever tried can be named."""


class _Recording:
    """Stands before a method, classmethod or staticmethod of a class."""

    def __init__(self, inner, name, used):
        self.inner, self.name, self.used = inner, name, used

    def __get__(self, obj, owner=None):
        self.used.add(self.name)
        return self.inner.__get__(obj, owner)


class Recorder:
    def __init__(self):
        self.used, self.known = set(), set()

    def watch(self, cls, label):
        """Public methods of a class and of the classes of the SDK that it extends."""
        for base in cls.__mro__:
            if not base.__module__.startswith("e2b"):
                continue
            for name, value in list(vars(base).items()):
                if name.startswith(("_", "from_", "skip_")) or not hasattr(value, "__get__") or isinstance(value, (type, property, _Recording)):
                    continue
                full = f"{label}.{name}"
                self.known.add(full)
                setattr(base, name, _Recording(value, full, self.used))

    def never_used(self):
        return sorted(self.known - self.used)
