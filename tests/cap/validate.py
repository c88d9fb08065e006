"""Which of the files given are CAP 1.2 by cap12.xsd? One line a file: `sound`, or what is wrong with it."""

import pathlib
import sys

import xmlschema

schema = xmlschema.XMLSchema(pathlib.Path(__file__).parent / "cap12.xsd")
for file in sys.argv[1:]:
    wrong = next(schema.iter_errors(file), None)
    print("sound" if wrong is None else f"{wrong.path}: {wrong.reason}".replace("\n", " "))
