/* Ownership of one volume: who may write, and who gets it when a gateway is lost. The records and guards are those of
 * docs/cluster-model.md. Checked with spin, see main.go.
 *
 * Two gateways, 0 and 1, contend, stop, and die; a third, 2, is well all the time, so that there is always somebody to
 * go to. An incarnation that is over never comes back, so a gateway that rejoins is just another one. Two coordinators: the
 * second is elected at some time, and the first may go on for as long as it likes.
 *
 * Time is what can have run out, not numbers:
 * - right[m] is the right to serve. It ends at any moment after it began.
 * - waited(c,m) says that coordinator c has waited for TTL since it saw m's last heartbeat. It can only come true when
 *   all rights from heartbeats that c has seen are over, and the writes submitted under them are at the medium: that is
 *   what TTL, margin and clocks that run give. A heartbeat that c has not seen (fresh(c,m)) does not hold it up.
 * A transaction is one step; what it was decided on was looked at in an earlier one, and is in its guard.
 *
 * Switches that take a defence away, each of which must make spin find an error, are named NO_...; STOOD_STILL and
 * LINGER add a fault that R3 alone can't cover.
 */

#ifndef EPOCHS
#define EPOCHS 3
#endif
#define C 2		/* those that contend */
#define N 3		/* and one that is well */
#define NOBODY 3

mtype = { FREE, ACTIVE, MOVING };		/* of the volume's record */
mtype = { IDLE, OPENING, OPEN, SERVING, DRAINING, OVER };	/* of a gateway */

/* The record of ownership. Each change of it is another tuple, so comparing tuples is comparing revisions. */
mtype st = FREE;
byte owner = NOBODY, to = NOBODY, epoch = 0;
bool released = false;

bool dead[N];		/* declared, in the store */

/* gateways */
mtype mode[N] = IDLE;
byte at[N];		/* the epoch that it has, or had, the volume open under */
bool right[N];
#ifdef NO_SENT
bool late[C];		/* a heartbeat was committed, its answer is on its way */
#endif

/* coordinators */
bool elected[2];
bool fresh[4];		/* c*2+m: a heartbeat of m was committed that c has not seen */
bool wait[4];		/* c*2+m: c has waited long enough for m */

/* the medium */
byte flight[N];		/* epoch of a write that was submitted and has not landed; 0: none */
bool fenced[N];		/* nothing of it lands any more */
byte least = 0;		/* R2: nothing of a lower epoch lands */

/* what is looked at */
byte served = 0;	/* the highest epoch that has begun to serve */
/* What is to be reachable at all, so that the rest means something: a planned move, a recovery from a lost owner, and
 * one from a lost receiver. Kept only where it is asked for. */
#ifdef REACH_MOVED
bool moved = false;
#define MOVED moved = true
#else
#define MOVED skip
#endif
#ifdef REACH_RECOVERED
bool recovered = false;
#define RECOVERED recovered = true
#else
#define RECOVERED skip
#endif
#ifdef REACH_AGAIN
bool again = false;
#define AGAIN again = true
#else
#define AGAIN skip
#endif

#ifdef NO_OWNER_GUARD
#define GUARD(x) true
#else
#define GUARD(x) (x)
#endif

#ifdef NO_RELEASE
#define RELEASED true
#else
#define RELEASED released
#endif
#ifdef NO_R2
#define OUTDATED(e) false
#else
#define OUTDATED(e) (e < least)
#endif

#define HAS(g, e) ((mode[g] == OPEN || mode[g] == SERVING) && at[g] == e)

inline land(m)
{
	if
	:: fenced[m] || OUTDATED(flight[m]) -> skip
	:: else ->
		assert(flight[m] >= served);	/* no write of an epoch lands when a later one serves */
		/* at most one writer: nobody else has the volume open under this epoch */
		assert(m == 0 || !HAS(0, flight[m]));
		assert(m == 1 || !HAS(1, flight[m]));
		assert(m == 2 || !HAS(2, flight[m]))
	fi;
	flight[m] = 0
}

#ifdef NO_RIGHT
#define MAY(m) true
#else
#define MAY(m) right[m]
#endif

/* What a gateway does with the volume. */
proctype Gateway(byte m)
{
end:	do
	/* it was granted: the view may be old when it acts on it */
	:: d_step { mode[m] == IDLE && st == MOVING && to == m && RELEASED -> at[m] = epoch; mode[m] = OPENING }
	/* opening shuts out lower epochs (R2), and repairs: a write */
	:: d_step { mode[m] == OPENING && MAY(m) && flight[m] == 0 ->
		if
		:: fenced[m] || OUTDATED(at[m]) -> mode[m] = IDLE; at[m] = 0
		:: else -> least = at[m]; flight[m] = at[m]; mode[m] = OPEN
		fi }
	/* it closes what is not its any more */
	:: d_step { mode[m] == OPEN && flight[m] == 0 && !(to == m && epoch == at[m] && st == MOVING) -> mode[m] = IDLE; at[m] = 0 }
	/* the transaction active: guarded by the record, and by its not being dead */
	:: d_step { mode[m] == OPEN && flight[m] == 0 && GUARD(st == MOVING && to == m && epoch == at[m] && !dead[m]) ->
		st = ACTIVE; owner = m; to = NOBODY; epoch = at[m]; released = true;
		assert(at[m] >= served);
		served = at[m]; mode[m] = SERVING;
#ifdef REACH_MOVED
		assert(!(moved && served == 2));
#endif
#ifdef REACH_RECOVERED
		assert(!(recovered && served == 2));
#endif
#ifdef REACH_AGAIN
		assert(!(again && served == 3));
#endif
		skip }
	/* a write: admitted, the right looked at, submitted */
	:: d_step { mode[m] == SERVING && MAY(m) && flight[m] == 0 -> flight[m] = at[m] }
	:: d_step { flight[m] != 0 -> land(m) }
	/* the view tells it to give up: sooner or later, since it flushes first while it serves on */
	:: d_step { mode[m] == SERVING && st == MOVING && owner == m && !released ->
#ifdef NO_DRAIN
		if
		:: GUARD(!dead[m]) -> released = true
		:: else
		fi;
#endif
		mode[m] = DRAINING }
	:: d_step { mode[m] == DRAINING && flight[m] == 0 -> mode[m] = IDLE; at[m] = 0 }
	/* the transaction released: idle, with the volume still in its name */
	:: d_step { mode[m] == IDLE && st == MOVING && owner == m && !released && !dead[m] -> released = true; MOVED }
	/* the right ends; a heartbeat, guarded by its not being dead, brings it. Counted from the sending, it is never later
	 * than the commit: an answer on its way need not be told apart */
	:: d_step { m < C && right[m] -> right[m] = false }
#ifdef NO_SENT
	:: d_step { m < C && mode[m] != OVER && !dead[m] -> late[m] = true; fresh[m] = true; fresh[2 + m] = elected[1] }
	:: d_step { m < C && late[m] && mode[m] != OVER -> late[m] = false; right[m] = true }
#else
	:: d_step { m < C && mode[m] != OVER && !dead[m] -> right[m] = true; fresh[m] = true; fresh[2 + m] = elected[1] }
#endif
	/* it hears that it is dead, or dies; what it submitted is on its way */
	:: d_step { m < C && mode[m] != OVER -> mode[m] = OVER; right[m] = false; at[m] = 0 }
	od
}

/* A coordinator. What is decided on what it saw is in the guards, or can't be taken back (dead, waited, fenced): so one
 * step may decide and commit, except where the guard is what is taken away. */
#define GONE(m) (m != NOBODY && dead[m])
/* The death comes in the stream of changes after the last heartbeat: who acts on it has seen that. */
#ifdef NO_STREAM
#define SAFE(m) (wait[c*2+m] || fenced[m])
#else
#define SAFE(m) ((wait[c*2+m] && !fresh[c*2+m]) || fenced[m])
#endif

inline grant(g, from)
{
	/* to whom is left open: whoever is not dead */
	if
	:: !dead[0] -> g = 0
	:: !dead[1] -> g = 1
	:: g = 2
	fi;
	assert(epoch <= EPOCHS);
#ifdef NO_EPOCH
	if
	:: epoch == 0 -> epoch = 1
	:: else
	fi;
#else
	epoch++;
#endif
	st = MOVING; owner = from; to = g; released = true
}

#ifdef NO_WAIT
#define LOST(m) (GONE(m))
#else
#define LOST(m) (GONE(m) && SAFE(m))
#endif

/* TTL has passed since the last heartbeat of m that was seen; m is declared dead, silent or suspected, guarded by that
 * heartbeat; a positive fence succeeds, sooner or later or never. */
#ifdef STOOD_STILL
#define OVERDUE(m) true
#elif defined(LINGER)
#define OVERDUE(m) (fresh[c*2+m] || !right[m])
#else
#define OVERDUE(m) (fresh[c*2+m] || (!right[m] && flight[m] == 0))
#endif
#ifdef NO_BEAT_GUARD
#define UNHEARD(m) true
#else
#define UNHEARD(m) (!fresh[c*2+m])
#endif
#define LOSE(m) \
	:: d_step { elected[c] && !wait[c*2+m] && OVERDUE(m) -> wait[c*2+m] = true } \
	:: d_step { elected[c] && !dead[m] && UNHEARD(m) -> dead[m] = true } \
	:: d_step { dead[m] && !fenced[m] -> fenced[m] = true }

proctype Coordinator(byte c)
{
	byte g;
#ifdef NO_OWNER_GUARD
	byte o, e;	/* what it saw */
#endif
end:	do
	/* elected: every wait starts afresh; it has read the store. The one before may hear of it late, or never */
	:: d_step { !elected[c] ->
#ifdef NO_AFRESH
		wait[c*2] = wait[(1-c)*2]; wait[c*2+1] = wait[(1-c)*2+1];	/* goes on where the other one was */
#endif
		elected[c] = true }
	/* heartbeats are seen */
	:: d_step { fresh[c*2] -> fresh[c*2] = false; wait[c*2] = false }
	:: d_step { fresh[c*2+1] -> fresh[c*2+1] = false; wait[c*2+1] = false }
	LOSE(0)
	LOSE(1)
	/* the first grant, and a planned move */
	:: atomic { elected[c] && st == FREE -> grant(g, NOBODY); g = 0 }
	:: atomic { elected[c] && st == ACTIVE && !GONE(owner) && epoch < EPOCHS ->
		if
		:: !dead[0] && owner != 0 -> to = 0
		:: !dead[1] && owner != 1 -> to = 1
		:: owner != 2 -> to = 2
		fi;
		st = MOVING; epoch++; released = false }
	/* the owner is lost */
#ifndef NO_OWNER_GUARD
	:: atomic { elected[c] && st == ACTIVE && epoch < EPOCHS && owner < C && LOST(owner) -> grant(g, owner); g = 0; RECOVERED }
#else
	:: d_step { elected[c] && st == ACTIVE && epoch < EPOCHS && owner < C && LOST(owner) -> e = epoch; o = owner };
		atomic { epoch = e; grant(g, o); g = 0; e = 0; o = 0 }
#endif
	/* it is lost while it gives up: the coordinator releases in its place */
	:: d_step { elected[c] && st == MOVING && !released && owner < C && LOST(owner) && !GONE(to) -> released = true }
	:: atomic { elected[c] && st == MOVING && !released && owner < C && LOST(owner) && GONE(to) && epoch < EPOCHS -> grant(g, owner); g = 0 }
	/* the receiver is lost before it was told to open */
	:: atomic { elected[c] && st == MOVING && !released && !GONE(owner) && GONE(to) && epoch < EPOCHS ->
		if
		:: !dead[0] -> to = 0
		:: !dead[1] -> to = 1
		:: to = 2
		fi;
		epoch++ }
	/* and after it was */
#ifdef NO_RECEIVER_FENCE
	:: atomic { elected[c] && st == MOVING && released && GONE(to) && epoch < EPOCHS -> grant(g, to); g = 0; AGAIN }
#else
	:: atomic { elected[c] && st == MOVING && released && to < C && LOST(to) && epoch < EPOCHS -> grant(g, to); g = 0; AGAIN }
#endif
	od
}

init {
	atomic {
		right[2] = true; elected[0] = true;
		run Gateway(0); run Gateway(1); run Gateway(2);
		run Coordinator(0); run Coordinator(1)
	}
}
