"""An application in the style of the document, as FastAPI serves it with several workers: it looks at the runtime, switches it,
creates and uses sandboxes."""
import os

from fastapi import FastAPI, HTTPException
from sandbox.e2b_sandbox import get_or_start_e2b_sandbox
from sandbox.errors import NotFoundError, RuntimeNotConfiguredError
from sandbox.runtime_manager import delete_sandbox, get_or_start_sandbox, runtime_manager

app = FastAPI()


@app.get("/worker")
async def worker():
    return {"pid": os.getpid()}


@app.get("/runtime")
def runtime():
    return {"pid": os.getpid(), "valid": runtime_manager.validate_runtime_config(), **runtime_manager.get_runtime_info()}


@app.post("/switch/{name}")
def switch(name: str):
    try:
        return {"pid": os.getpid(), **runtime_manager.switch(name)}
    except RuntimeNotConfiguredError as e:
        raise HTTPException(400, f"{e} {e.hint}") from e


@app.post("/projects/{project_id}")
def create(project_id: str):
    box = runtime_manager.create_sandbox(password="pw", project_id=project_id)
    box.fs.upload_file(project_id, "/workspace/project")
    return {"pid": os.getpid(), "id": box.id, "link": str(box.get_preview_link(8080))}


@app.get("/sandboxes/{sandbox_id}/project")
async def read(sandbox_id: str):
    box = await get_or_start_sandbox(sandbox_id)
    return {"pid": os.getpid(), "project": box.process.exec("cat project").result}


@app.get("/shared/{name}")
async def shared(name: str):
    box = await get_or_start_e2b_sandbox(name)
    return {"pid": os.getpid(), "state": box.state, "inner": box.sandbox._info["id"]}


@app.delete("/sandboxes/{sandbox_id}")
async def delete(sandbox_id: str):
    try:
        return {"pid": os.getpid(), "deleted": await delete_sandbox(sandbox_id)}
    except NotFoundError as e:
        raise HTTPException(404, str(e)) from e
