"""Doing many cases: a case in, a record out; who does them is chosen beside what is done."""
