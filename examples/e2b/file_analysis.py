"""Uploads a table, lets a script in the sandbox work on it, and downloads what it made."""
import csv
import io

from e2b import Sandbox

SCRIPT = """
import csv, collections
total = collections.Counter()
for row in csv.DictReader(open("sales.csv")):
    total[row["city"]] += int(row["amount"])
with open("totals.csv", "w", newline="") as out:
    csv.writer(out).writerows(total.most_common())
print(len(total), "cities")
"""

table = io.StringIO()
writer = csv.writer(table)
writer.writerow(["city", "amount"])
writer.writerows([["Zürich", 10], ["Graz", 20], ["Zürich", 32], ["Łódź", 5]])

with Sandbox.create(timeout=120) as sandbox:
    sandbox.files.write_files([{"path": "sales.csv", "data": table.getvalue()}, {"path": "work.py", "data": SCRIPT}])
    print(sandbox.commands.run("python3 work.py").stdout.strip())
    for city, amount in csv.reader(io.StringIO(sandbox.files.read("totals.csv"))):
        print(city, amount)
