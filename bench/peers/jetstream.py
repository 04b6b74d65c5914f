"""NATS JetStream, sync always: one publish and its acknowledgement for each; pulled and acknowledged one by one."""

from __future__ import annotations

import asyncio
import os
import time

import nats
import psycopg

from bench.peers.load import PAYLOAD, arguments, tasks


async def main() -> None:
    what, _, number, seconds = arguments()
    connection = await nats.connect(os.environ["BENCH_NATS"])
    stream = connection.jetstream()
    subject = f"{what}{os.getpid()}"
    await stream.add_stream(name=subject, subjects=[subject])
    body = PAYLOAD.encode()
    if what == "ack":
        (await tasks(lambda place: stream.publish(subject, body), number, seconds)).print()
    else:
        for start in range(0, number, 64):
            await asyncio.gather(
                *(stream.publish(subject, str(place).encode()) for place in range(start, min(start + 64, number)))
            )
        print(await _drain(stream, subject, number))
    await stream.delete_stream(subject)
    await connection.close()


async def _drain(stream: nats.js.JetStreamContext, subject: str, count: int) -> float:
    worker = await stream.pull_subscribe(subject, durable="drain")
    line = await psycopg.AsyncConnection.connect(os.environ["BENCH_POSTGRESQL"], autocommit=True)
    done, began = 0, time.perf_counter()
    while done < count:
        for message in await worker.fetch(100, timeout=10):
            await line.execute("UPDATE drained SET n = n + 1 WHERE id = %s", (int(message.data) % 1000,))
            await message.ack_sync()
            done += 1
    await line.close()
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    asyncio.run(main())
