"""Makes a C file of the migrations: embed_sql.py OUT STATES_DEF SQL... (in order of their versions).

@STATES@ becomes the list of state names of core/states.def, so that the database refuses any other.
"""
import re
import sys


def literal(text):
    lines = []
    for line in text.splitlines():
        line = line.split("--")[0].rstrip()
        if line.strip():
            escaped = line.replace("\\", "\\\\").replace('"', '\\"')
            lines.append('    "%s\\n"' % escaped)
    return "\n".join(lines)


def main(out, states_def, *sql_files):
    with open(states_def, encoding="utf-8") as f:
        states = re.findall(r'^CORE_STATE\(\w+, "(\w+)"', f.read(), re.M)
    if len(states) < 2:
        sys.exit("no states found in " + states_def)
    names = ", ".join("'%s'" % s for s in states)
    with open(out, "w", encoding="utf-8") as f:
        f.write('/* Made by embed_sql.py from the migrations. */\n#include "store/internal.h"\n\n')
        f.write("const char *const store_migrations[] = {\n")
        for name in sql_files:
            with open(name, encoding="utf-8") as sql:
                f.write(literal(sql.read().replace("@STATES@", names)) + ",\n")
        f.write("};\nconst int store_migrations_n = %d;\n" % len(sql_files))


main(*sys.argv[1:])
