// Records which methods of the SDK's classes were called, so that one that no case ever tried can be named.

/** Helpers of the classes that TypeScript marks private; others call them. */
const INTERNAL = new Set(['getRemoteUrl', 'resolveRemoteName', 'withRemoteCredentials', 'hasUpstream', 'runGit', 'runShell', 'fileUrl',
  'resolveApiOpts', 'updatePagination', 'createSandbox', 'connectSandbox', 'forkSandbox', 'resolveOpts', 'getPauseBody'])

/** Wraps the methods of a class in place and returns their names. */
function wrap(holder, label, called, known) {
  for (const name of Object.getOwnPropertyNames(holder)) {
    const d = Object.getOwnPropertyDescriptor(holder, name)
    if (name === 'constructor' || INTERNAL.has(name) || name === 'prototype' || typeof d.value !== 'function' || !d.configurable) continue
    const full = `${label}.${name}`
    known.add(full)
    const original = d.value
    d.value = function (...args) {
      called.add(full)
      return original.apply(this, args)
    }
    Object.defineProperty(holder, name, d)
  }
}

export class Recorder {
  constructor() {
    this.called = new Set()
    this.known = new Set()
    this.seen = new Set()
  }

  /** Static and instance methods of a class and of the classes it extends. */
  watch(cls, label = cls.name) {
    for (let c = cls; c && c !== Function.prototype && !this.seen.has(c); c = Object.getPrototypeOf(c)) {
      this.seen.add(c)
      wrap(c, label, this.called, this.known)
      wrap(c.prototype, label, this.called, this.known)
    }
  }

  /** The same for the class of an object that only a call returns. */
  watchObject(object, label) {
    if (object) this.watch(object.constructor, label)
  }

  /** Functions that hang on an object. */
  watchFunctions(object, label) {
    if (object) wrap(object, label, this.called, this.known)
  }

  neverCalled() {
    return [...this.known].filter((name) => !this.called.has(name)).sort()
  }
}
