"""What was printed, taken apart."""


def rows_in(printed: str) -> list[tuple[str, ...]]:
    """The cells of all tables, headings first."""
    lines = (line.replace("┃", "│") for line in printed.splitlines())
    return [tuple(cell.strip() for cell in line.strip("│").split("│")) for line in lines if line.startswith("│")]
