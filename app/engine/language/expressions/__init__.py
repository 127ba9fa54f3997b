"""The expression language: `${{ … }}` in config, and bare expressions in `if`, `when`, `items`.

Small and closed on purpose: JSON values in and out, a fixed table of functions, counted work. docs/expressions.md is
the user's reference.
"""

from app.engine.language.expressions.compiler import Reference
from app.engine.language.expressions.expression import Expression, compile_expression
from app.engine.language.expressions.faults import ExpressionFault
from app.engine.language.expressions.functions import FUNCTIONS
from app.engine.language.expressions.parser import MACROS
from app.engine.language.expressions.template import Template, compile_template

__all__ = [
    "FUNCTIONS",
    "MACROS",
    "Expression",
    "ExpressionFault",
    "Reference",
    "Template",
    "compile_expression",
    "compile_template",
]
