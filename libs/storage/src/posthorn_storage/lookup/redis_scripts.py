"""What the lookup store asks of Redis beyond single commands: scripts on one key each, so that they work in a cluster.

Time is the server's (TIME), in microseconds, which a Lua number holds exactly. Scripts write by effects (Redis 5 and
later), so replicas repeat what was written and not the reading of a clock.
"""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, and the name the server keeps it under."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end
"""

COUNT = Script("""
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
""")
"""amount, ttl in ms -> the sum."""

TAKE = Script(
    _NOW
    + """
local ahead = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) - now
local moved = ahead + ARGV[1]
if moved <= tonumber(ARGV[2]) and ARGV[3] == '1' then
    redis.call('SET', KEYS[1], whole(now + moved), 'PX', whole(math.ceil(moved / 1000)))
end
return whole(ahead)
"""
)
"""How far to move in µs, the period in µs, 1 to take and 0 to ask -> how far ahead of now the moment was before."""

ADD = Script("""
local there = redis.call('GET', KEYS[1])
if not there then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return there
""")
"""value, ttl in ms -> what is there already."""

SWAP = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
"""expected, value, ttl in ms -> whether it was."""

JOIN = Script(
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return -1 end
redis.call('ZADD', KEYS[1], whole(now + ARGV[2]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], whole(math.ceil(last / 1000)))
return redis.call('ZCARD', KEYS[1])
"""
)
"""member, ttl in µs, limit -> the size, -1 when full."""

MEMBERS = Script(_NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now), '+inf')")
