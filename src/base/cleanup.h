/* cleanup.h - scope-bound ownership. SMX_CLEANUP(fn) runs fn(&variable) when the scope ends, except
 * across exit, exec and longjmp (which we do not use). Hand a resource over with *ret_x =
 * smx_take(&x). */
#ifndef SMX_BASE_CLEANUP_H
#define SMX_BASE_CLEANUP_H

#include <stddef.h>

#define SMX_CLEANUP(fn) __attribute__((cleanup(fn)))

/* Yields the pointer and leaves NULL behind. */
#define smx_take(pp)                \
    (__extension__({                \
        __typeof__(pp) pp_ = (pp);  \
        __typeof__(*pp_) v_ = *pp_; \
        *pp_ = NULL;                \
        v_;                         \
    }))

/* Defines name##p(T **) for SMX_CLEANUP from a destructor that accepts NULL. */
#define SMX_DEFINE_CLEANUP(type, destroy)    \
    static inline void destroy##p(type **pp) \
    {                                        \
        destroy(*pp);                        \
    }

#define SMX_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SMX_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define SMX_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SMX_MUST_USE __attribute__((warn_unused_result))
#define SMX_UNUSED __attribute__((unused))
/* Keeps what a call needs for a moment off the frame of a fiber that then stays for hours. */
#define SMX_NOINLINE __attribute__((noinline))

#define SMX_MIN(a, b) ((a) < (b) ? (a) : (b))
#define SMX_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
