"""The line of every key, for each way TOML has of writing one."""

from posthorn_node.settings.toml_lines import lines_of

TEXT = '''\
top = 1
# a = comment
[table]  # [not-a-table]
"quoted key" = "has = and # and [x]"
'literal' = 'c:\\'
dotted . deep."er" = true
long = """
no-key = 1
[no-table] \\""" still
"""
raw = \'\'\'
x = ""\'\'\'
list = [
  "a", # one
  ["b", "c"],

  { k = 1, n.m = [2,
    3] },
]
[other."a.b".c]
date = 1979-05-27 07:32:00
[[many]]
x = 1
[many.below]
y = 2
[[many]]
x = 3
inline = { a = { b = 1 }, "c" = 2 }
'''


def test_every_way_of_writing_a_key() -> None:
    lines = lines_of(TEXT)
    expected = {
        ("top",): 1,
        ("table",): 3,
        ("table", "quoted key"): 4,
        ("table", "literal"): 5,
        ("table", "dotted"): 6,
        ("table", "dotted", "deep", "er"): 6,
        ("table", "long"): 7,
        ("table", "raw"): 11,
        ("table", "list"): 13,
        ("table", "list", 0): 14,
        ("table", "list", 1): 15,
        ("table", "list", 1, 1): 15,
        ("table", "list", 2, "k"): 17,
        ("table", "list", 2, "n", "m"): 17,
        ("table", "list", 2, "n", "m", 1): 18,
        ("other", "a.b", "c"): 20,
        ("other", "a.b", "c", "date"): 21,
        ("many", 0, "x"): 23,
        ("many", 0, "below", "y"): 25,
        ("many", 1): 26,
        ("many", 1, "x"): 27,
        ("many", 1, "inline", "a", "b"): 28,
        ("many", 1, "inline", "c"): 28,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert not any("no-key" in path or "no-table" in path or "not-a-table" in path for path in lines)
