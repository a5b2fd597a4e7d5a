"""The job server and the browser pages: REST interface, worker processes, results in any format.

Nothing here is imported by `import tomoseg` or `--help`; FastAPI and uvicorn are in the extra `serve`.
"""
