"""Text of users as C literals and comments: nothing in it breaks out of either."""

from __future__ import annotations


def comment(text: str) -> str:
    """Text of users must not end a comment."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ")


def returned(text: str) -> str:
    """Statements that return a text. C99 promises no more than 4095 characters of a literal, joined ones included."""
    if len(text) < 4000:
        return f"return {c_string(text)};"
    characters = [f"'\\{c}'" if c in "'\\" else f"'{c}'" for c in text]
    rows = [", ".join(characters[k : k + 20]) for k in range(0, len(text), 20)]
    return "static const char text[] = {\n    " + ",\n    ".join(rows) + ", 0\n  };\n  return text;"


def c_string(text: str) -> str:
    """A C string literal of any text: what is not printable ASCII is escaped, trigraphs cannot arise."""
    out = []
    for byte in text.encode():
        c = chr(byte)
        if c in '"\\':
            out.append("\\" + c)
        elif c == "?" or not 32 <= byte < 127:
            out.append(f"\\{byte:03o}")
        else:
            out.append(c)
    # Lines of a readable length. None ends in an escape, which the next digit could seem to go on.
    pieces, piece = [], ""
    for c in out:
        piece += c
        if len(piece) >= 400 and "\\" not in piece[-4:]:
            pieces.append(piece)
            piece = ""
    if piece:
        pieces.append(piece)
    return "\n    ".join(f'"{p}"' for p in pieces) or '""'
