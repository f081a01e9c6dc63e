/* test_e2b_data.c - signatures of URLs and spellings of internal routes. */
#include "core/test_core.h"
#include "frontends/e2b_data/internal.h"

/* --- signatures ---------------------------------------------------------------------------------
 */

#define VECTOR_TOKEN "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e0"
#define VECTOR "v1_gUtH/s9YCJWgCizjfUxuWfhFE4QSydOWEIIvfLwDr6E"

static struct sign_request request(char *path, char *username, char *signature)
{
    return (struct sign_request){
        .operation = "read", .path = path, .username = username, .signature = signature
    };
}

TEST(the_vector_of_the_protocol)
{
    char path[] = "hello.txt", user[] = "user", made[SIGN_SIZE];
    struct sign_request s = request(path, user, NULL);

    ASSERT_TRUE(sign_make(&s, VECTOR_TOKEN, made));
    ASSERT_STR(made, VECTOR);
}

TEST(every_part_counts)
{
    char path[] = "hello.txt", other_path[] = "hello.txu", user[] = "user", nobody[] = "";
    char signature[] = VECTOR;
    struct sign_request cases[] = { request(path, user, signature),
        request(other_path, user, signature), request(path, nobody, signature),
        request(path, user, signature), request(path, user, signature) };

    cases[3].operation = "write";
    cases[4].expires = true;
    for (size_t i = 0; i < SMX_ARRAY_LEN(cases); i++) {
        struct sign_hash *h = sign_hash_new(&cases[i]);

        ASSERT_TRUE(h != NULL);
        ASSERT_EQ(sign_hash_matches(h, VECTOR_TOKEN), i == 0);
        ASSERT_FALSE(sign_hash_matches(h, "0tQG31xiMp0IOQfaz9dcwi72L1CPo8e1"));
        sign_hash_free(h);
    }
}

TEST(signatures_of_another_length_match_nothing)
{
    static const char *const bad[] = { "", "v1_", "v1_gUtH", VECTOR "=", VECTOR "A",
        VECTOR VECTOR };
    char path[] = "hello.txt", user[] = "user", text[128];

    for (size_t i = 0; i < SMX_ARRAY_LEN(bad); i++) {
        struct sign_request s = request(path, user, text);
        struct sign_hash *h;

        smx_strcpy(text, sizeof text, bad[i]);
        h = sign_hash_new(&s);
        ASSERT_TRUE(h != NULL);
        ASSERT_FALSE(sign_hash_matches(h, VECTOR_TOKEN));
        sign_hash_free(h);
    }
}

TEST(times_in_the_past_are_over)
{
    struct sign_request s = { .expires = true };
    struct smx_err err = { 0 };

    ASSERT_EQ(sign_check_time(&s, &err), -SMX_E_UNAUTHORIZED);
    ASSERT_STR(err.msg, "signature is already expired");
    s.expiration_unix_s = -5;
    ASSERT_EQ(sign_check_time(&s, &err), -SMX_E_UNAUTHORIZED);
    s.expiration_unix_s = INT64_MAX;
    ASSERT_EQ(sign_check_time(&s, &err), 0);
    s.expires = false;
    s.expiration_unix_s = 0;
    ASSERT_EQ(sign_check_time(&s, &err), 0);
}

/* --- whose signature ----------------------------------------------------------------------------
 */

enum { SANDBOXES = 40 };

FIBER_TEST(a_signature_finds_its_sandbox_among_many)
{
    struct sandbox *sb[SANDBOXES] = { NULL }, *found;
    char path[] = "a", user[] = "", token[SANDBOX_TOKEN_SIZE], signature[SIGN_SIZE];
    struct sign_request s = request(path, user, NULL);
    FIXTURE(f);

    ASSERT_OK(fixture_open(&f), &f.err);
    for (size_t i = 0; i < SANDBOXES; i++)
        ASSERT_OK(make(&f, NULL, &sb[i]), &f.err);
    for (size_t i = 0; i < SANDBOXES; i += SANDBOXES - 1) {
        sandbox_token(sb[i], token);
        ASSERT_TRUE(sign_make(&s, token, signature));
        s.signature = signature;
        found = sign_find(f.core, &s);
        ASSERT_TRUE(found == sb[i]);
        sandbox_unref(found);
    }
    signature[10] ^= 1;
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    signature[10] ^= 1;
    ASSERT_OK(sandbox_delete(sb[SANDBOXES - 1], &f.err), &f.err);
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    s.signature = NULL;
    ASSERT_TRUE(sign_find(f.core, &s) == NULL);
    for (size_t i = 0; i < SANDBOXES; i++)
        sandbox_unref(sb[i]);
}

/* --- paths --------------------------------------------------------------------------------------
 */

static const struct {
    const char *path;
    bool internal;
} paths[] = {
    { "/init", true },
    { "/freeze", true },
    { "/unfreeze", true },
    { "/collapse", true },
    { "/fsfreeze", true },
    { "/fsthaw", true },
    { "/upgrade", true },
    { "/INIT", true },
    { "/init/", true },
    { "//init", true },
    { "/./init", true },
    { "/files/../init", true },
    { "/../../init", true },
    { "/a/b/../../init/.", true },
    { "/%69nit", true },
    { "/in%69t", true },
    { "/%2e/init", true },
    { "/x/%2e%2E/init", true },
    { "/%2finit", true },
    { "/%252e/init", true },
    { "/%25%36%39nit", true },
    { "\\init", true },
    { "/x%5c..%5cinit", true },
    { "/", false },
    { "", false },
    { "*", false },
    { "/health", false },
    { "/files", false },
    { "/files/compose", false },
    { "/process.Process/Start", false },
    { "/initialise", false },
    { "/init/x", false },
    { "/x/init", false },
    { "/%zz", false },
    { "/%", false },
    { "/initinitinitinitinit", false },
};

TEST(internal_routes_in_any_spelling)
{
    for (size_t i = 0; i < SMX_ARRAY_LEN(paths); i++)
        if (path_is_internal(smx_view_of(paths[i].path)) != paths[i].internal)
            smx_test_fail(__FILE__, __LINE__, "'%s'", paths[i].path);
}
