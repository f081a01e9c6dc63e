/* mime.c - types by extension and by a look at the first bytes. Pure. */
#include "agent/mime.h"

#include <stdbool.h>
#include <string.h>

#include "base/str.h"
#include "http/h1.h"

static const char text_type[] = "text/plain; charset=utf-8";

static const struct {
    const char *extension, *type;
} by_extension[] = { { "avif", "image/avif" }, { "css", "text/css; charset=utf-8" },
    { "csv", "text/csv; charset=utf-8" }, { "gif", "image/gif" }, { "gz", "application/gzip" },
    { "htm", "text/html; charset=utf-8" }, { "html", "text/html; charset=utf-8" },
    { "jpeg", "image/jpeg" }, { "jpg", "image/jpeg" }, { "js", "text/javascript; charset=utf-8" },
    { "json", "application/json" }, { "mjs", "text/javascript; charset=utf-8" },
    { "mp4", "video/mp4" }, { "pdf", "application/pdf" }, { "png", "image/png" },
    { "svg", "image/svg+xml" }, { "tar", "application/x-tar" }, { "txt", text_type },
    { "wasm", "application/wasm" }, { "webp", "image/webp" }, { "xml", "text/xml; charset=utf-8" },
    { "zip", "application/zip" } };

/* Bytes that text does not have. */
static bool is_binary(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < 0x20 && !(p[i] >= '\t' && p[i] <= '\r') && p[i] != 0x1b)
            return true;
    return false;
}

const char *mime_type(const char *name, const void *head, size_t n)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < SMX_ARRAY_LEN(by_extension); i++)
        if (smx_view_ieq(smx_view_of(dot + 1), by_extension[i].extension))
            return by_extension[i].type;
    return is_binary(head, n) ? "application/octet-stream" : text_type;
}

static bool is_plain(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 0x20 || (unsigned char)*name > 0x7e)
            return false;
    return true;
}

void mime_disposition(struct smx_buf *out, const char *name)
{
    smx_buf_append_str(out, "inline; filename");
    if (h1_token_valid(smx_view_of(name))) {
        smx_buf_appendf(out, "=%s", name);
    } else if (is_plain(name)) {
        smx_buf_append_str(out, "=\"");
        for (; *name; name++) {
            if (*name == '"' || *name == '\\')
                smx_buf_append_char(out, '\\');
            smx_buf_append_char(out, *name);
        }
        smx_buf_append_char(out, '"');
    } else {
        smx_buf_append_str(out, "*=utf-8''");
        h1_percent_encode(out, name, strlen(name), /* keep= */ "");
    }
}
