"""A job server and the pages of a browser: REST, workers in processes of their own, results in any format.

Nothing here is loaded by `import tomoseg` or `--help`; FastAPI and uvicorn are the extra `serve`.
"""
