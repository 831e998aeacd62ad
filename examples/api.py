"""Ask a knowledge base over HTTP with OpenAI's own client.

rwkv-rag api &                       # or rwkv-rag up
python examples/api.py FILE "QUESTION" [URL]

Needs: pip install openai
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
from openai import OpenAI

KB = "example"


def main(file: Path, question: str, url: str = "http://127.0.0.1:8600") -> None:
    """Upload `file` into the knowledge base "example", then ask it."""
    with httpx.Client(base_url=url, timeout=600) as http:
        if http.get(f"/api/knowledge/{KB}").status_code == 404:
            http.post("/api/knowledge", json={"name": KB}).raise_for_status()
        with file.open("rb") as content:
            answer = http.post(f"/api/knowledge/{KB}/files", files={"files": (file.name, content)})
        for each in answer.raise_for_status().json()["documents"]:
            print(f"{each['stage']:>9}  {each['document']}  {each['reason']}", file=sys.stderr)

    # On loopback no token is needed; elsewhere it is in HOME/keys/api.token.
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        stream = client.chat.completions.create(
            model=f"default@{KB}",
            messages=[{"role": "user", "content": question}],
            stream=True,
        )
        citations: list[dict[str, object]] = []
        for chunk in stream:
            delta = chunk.choices[0].delta
            print(delta.content or "", end="", flush=True)
            citations += (delta.model_extra or {}).get("citations", [])
    print()
    for citation in citations:
        print(f"  {citation['document']}:{citation['start']}-{citation['end']}")
        print(f"    {citation['quote']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])
