/* test.h - unit tests in one header. TEST(name) registers itself; ASSERT_* print both sides and
 * leave the test by return, so cleanup attributes run. Output is TAP; SKIP(why) counts as skipped.
 * Link src/base/test_main.c. */
#ifndef SMX_BASE_TEST_H
#define SMX_BASE_TEST_H

#include <stdio.h>
#include <string.h>

struct smx_test {
    const char *name;
    void (*run)(void);
    struct smx_test *next;
};

void smx_test_add(struct smx_test *t);
void smx_test_fail(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void smx_test_skip(const char *why); /* static string */

#define TEST(id)                                             \
    static void test_##id(void);                             \
    __attribute__((constructor)) static void add_##id(void)  \
    {                                                        \
        static struct smx_test t = { #id, test_##id, NULL }; \
        smx_test_add(&t);                                    \
    }                                                        \
    static void test_##id(void)

#define ASSERT_TRUE(x)                                             \
    do {                                                           \
        if (!(x)) {                                                \
            smx_test_fail(__FILE__, __LINE__, "not true: %s", #x); \
            return;                                                \
        }                                                          \
    } while (0)
#define ASSERT_FALSE(x) ASSERT_TRUE(!(x))
#define ASSERT_INT(a, op, b)                                                           \
    do {                                                                               \
        long long a_ = (long long)(a), b_ = (long long)(b);                            \
        if (!(a_ op b_)) {                                                             \
            smx_test_fail(__FILE__, __LINE__, "%s = %lld, %s = %lld", #a, a_, #b, b_); \
            return;                                                                    \
        }                                                                              \
    } while (0)
#define ASSERT_EQ(a, b) ASSERT_INT(a, ==, b)
#define ASSERT_OK(r, err)                                                         \
    do {                                                                          \
        int r_ = (r);                                                             \
        if (r_ < 0) {                                                             \
            smx_test_fail(__FILE__, __LINE__, "%s = %d: %s", #r, r_, (err)->msg); \
            return;                                                               \
        }                                                                         \
    } while (0)
#define ASSERT_STR(a, b)                                                          \
    do {                                                                          \
        const char *a_ = (a), *b_ = (b);                                          \
        if (!a_ || !b_ || strcmp(a_, b_) != 0) {                                  \
            smx_test_fail(__FILE__, __LINE__, "%s = \"%s\", expected \"%s\"", #a, \
                a_ ? a_ : "(null)", b_ ? b_ : "(null)");                          \
            return;                                                               \
        }                                                                         \
    } while (0)
#define ASSERT_MEM(a, an, b, bn)                                                                \
    do {                                                                                        \
        size_t an_ = (an), bn_ = (bn);                                                          \
        if (an_ != bn_ || memcmp((a), (b), an_) != 0) {                                         \
            smx_test_fail(__FILE__, __LINE__, "%s (%zu bytes) differs from %s (%zu bytes)", #a, \
                an_, #b, bn_);                                                                  \
            return;                                                                             \
        }                                                                                       \
    } while (0)
#define SKIP(why)           \
    do {                    \
        smx_test_skip(why); \
        return;             \
    } while (0)

#endif
