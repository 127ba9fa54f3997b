"""Expressions that try to use up the machine, and what they are evaluated on."""

from contextlib import suppress
from typing import Any

from app.engine.language.expressions import ExpressionFault, compile_expression

MEGABYTE = 1_000_000
DEEP: list[Any] = []
for _ in range(900):
    DEEP = [DEEP]

SCOPE: dict[str, Any] = {
    "input": {
        "name": "x",
        "big": "x" * MEGABYTE,
        "wide": "é" * 300_000,
        "pairs": "ab" * 400_000,
        "rows": list(range(50_000)),
        "few": list(range(1_000)),
        "map": {f"k{number}": number for number in range(100_000)},
        "deep": DEEP,
    },
    "now": "2026-01-31T09:30:00Z",
}
TEN = "[1,2,3,4,5,6,7,8,9,10]"

BOMBS = [
    "(" * 4096,
    "!" * 4096,
    "-" * 4096,
    "[" * 4096,
    "{a:" * 1365,
    "a[" * 1000,
    "a?b:" * 1000,
    "1" * 4096,
    "'" + "\\" * 4000,
    "'" + "\\'" * 2040,
    "a." * 2000,
    "f(" * 500,
    "1e" + "9" * 4000,
    "[1]" + "".join(f".map(a{n},[a{n},a{n}])" for n in range(30)),
    "to_json([1]" + "".join(f".map(a{n},[a{n},a{n}])" for n in range(30)) + ")",
    "[1]" + "".join(f".map(a{n},[a{n},a{n}])" for n in range(30)) + ".unique()",
    "size([0]" + "".join(f".map(a{n},[a{n},a{n}]).flatten()" for n in range(30)) + ")",
    TEN + "".join(f".map(x{n},{TEN}" for n in range(8)) + ")" * 8,
    TEN + "".join(f".map(x{n},{TEN}" for n in range(3)) + ".map(y,input.big+'a')" + ")" * 3,
    "[input.big]" + ".map(x,x+x)" * 10,
    "'aaaaaaaa'" + ".replace('a','aaaaaaaa')" * 20,
    "'a,a,a,a,a,a'" + ".split('a').join('aaaaaaaa')" * 20,
    "input.big + input.big + input.big + input.big",
    "input.big.split('')",
    "input.big.split('x').size()",
    "input.big.replace('', input.big)",
    "input.rows.map(x, input.big.contains('xy'))",
    "input.rows.map(x, 'xy' in input.big)",
    "input.rows.map(x, input.big.upper())",
    "input.rows.map(x, input.big == input.big.lower())",
    "input.rows.map(x, input.rows.unique())",
    "input.rows.map(x, input.rows == input.rows)",
    "input.rows.map(x, x in input.rows)",
    "input.rows.map(x, 'x' in input.rows)",
    "input.rows.map(x, input.rows + input.rows)",
    "input.few.map(x, input.few.map(y, input.few.map(z, 1)))",
    "input.few.map(x, input.few.sort_by(y, -y))",
    "input.few.map(x, input.map.keys())",
    "input.few.map(x, input.map)",
    "input.few.map(x, input.big).max()",
    "input.few.map(x, input.big).sort_by(x, x)",
    "[1].map(l, input.few.map(x, input.big)).map(l, (input.big.slice(1) + 'y') in l)",
    "input.few.map(x, input.big).join()",
    "input.few.map(x, input.big)",
    "input.few.map(x, merge(input.map, input.map))",
    "input.few.map(x, url_encode(input.wide))",
    "input.few.map(x, from_json('[' + input.few.join(',') + ']'))",
    "from_json('" + "[" * 4000 + "')",
    "from_json([1].map(x, '[').join() + input.few.map(x, '[').join())",
    "from_json(input.few.map(x, '9').join())",
    "from_json('0.' + input.few.map(x, '9').join())",
    "number(input.few.map(x, '9').join())",
    "from_json(input.few.slice(0, 100).map(x, '[').join() + input.few.slice(0, 100).map(x, ']').join())",
    "input.big.matches('(x+x+)+y')",
    "input.big.matches('(?:x?){900}y')",
    "input.pairs.matches('[ab]*a[ab]{900}c')",
    "input.rows.map(x, input.big.matches('(a+)+$'))",
    "input.rows.map(x, 'a'.matches(string(x) + '(?:a?){900}b'))",
    "input.rows.map(x, input.wide.matches('é+$'))",
    "'a'.matches('((((a{30}){30}){30}){30})')",
    "'a'.matches('(?i)(?:\\\\pL{10}|.){90}')",
    "'a'.matches(input.big)",
    " + ".join(f"(''.matches('{n}.{{900}}') ? 1 : 0)" for n in range(100)),
    "input.deep",
    "input.deep == input.deep",
    "input.deep.unique()",
    "to_json(input.deep)",
    "input.map",
    "[input.map, input.map, input.map, input.map]",
    "input.map.k",
    "format_date(now, input.big)",
    "date(input.big)",
    "duration(input.big)",
    "number(input.big)",
    "input.big.trim().trim().trim().trim().trim()",
]


def attempt(source: str) -> None:
    """Evaluate it; a fault of the language is as good an end as a value."""
    with suppress(ExpressionFault):
        compile_expression(source).evaluate(SCOPE)
