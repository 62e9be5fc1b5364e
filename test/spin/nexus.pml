/* The fence of a nexus across gateways: a write that came over it must not land after the fence was answered, whoever
 * owns the volume meanwhile. Checked with spin, see main.go. The ownership itself is in ownership.pml: here an owner
 * changes in one step, which ends (drain) or shuts out (R2) what the old one had in flight.
 *
 * The nexus is on gateway R, which relays to the owner, 1 or 2. Its host sends writes, gives the path up, and asks the
 * owner for the fence, over another path. Nobody tells R: it may be slow, cut off, or dead.
 *
 * A task carries a token of the owner that R knew when it took the task. Tokens are of an epoch; another owner does not
 * take them. (Their age, R4 c, is for hosts that do not fence: it is not in this model.)
 */

#ifndef EPOCHS
#define EPOCHS 4
#endif

byte epoch = 1, owner = 1;

/* the host */
bool path = true;	/* it has not given the path up */
bool asked = false, answered = false;

/* between host and medium */
bool wire = false;	/* bytes on their way to R */
bool sock = false;	/* bytes that R has not read */
byte task = 0;		/* token of a task that R has read; 0: none */
byte relayed = 0;	/* token of a task on its way to gateway dest */
byte dest = 0;
byte flight = 0;	/* epoch of a write that was submitted; 0: none */

/* R */
bool session = true;
bool alive = true;	/* it has the right to serve, and is not dead */
byte token = 1;		/* that it was given last */
bool ended = false;	/* R has said that the session is over, or R is dead and its right is over */

bool tomb[3] = false;	/* at the owner: nothing more of this nexus is taken */

#ifdef NO_TOKEN
#define FRESH true
#else
#define FRESH (relayed == epoch)
#endif
#ifdef NO_TOMBSTONE
#define BURIED false
#else
#define BURIED (tomb[owner])
#endif
#ifdef NO_SESSION_END
#define ENDED true
#else
#define ENDED ended
#endif
#ifdef NO_FENCE_WAIT
#define LANDED true
#else
#define LANDED (flight == 0)
#endif

proctype Host()
{
end:	do
	:: d_step { path && !wire -> wire = true }
	:: d_step { path -> path = false; asked = true }
	od
}

proctype Relay()
{
end:	do
	:: d_step { wire -> wire = false; if :: session && alive -> sock = true :: else fi }
	:: d_step { alive && session && sock && task == 0 -> task = token; sock = false }
	:: d_step { alive -> token = epoch }
	/* to whom its view says, which may be old */
	:: atomic { alive && task != 0 && relayed == 0 -> relayed = task; task = 0;
		if
		:: dest = 1
		:: dest = 2
		fi }
	/* it notices that the host has gone: what was not read is thrown away */
	:: d_step { alive && session && !path -> session = false; sock = false }
	/* it is told to end the session, with all that it has of it, and says so */
	:: d_step { alive && asked && !ended -> session = false; sock = false; task = 0; ended = true }
	:: d_step { alive -> alive = false; session = false; sock = false; task = 0 }
	:: d_step { !alive && !ended -> ended = true }
	od
}

proctype Owner()
{
end:	do
	:: d_step { relayed != 0 && flight == 0 ->
		if
		:: dest == owner && FRESH && !BURIED -> flight = epoch
		:: else
		fi;
		relayed = 0; dest = 0 }
	:: d_step { flight != 0 -> assert(!answered); flight = 0 }	/* no write after its nexus was fenced */
	/* the fence: from now on nothing more is taken; what is there ends; the nexus' gateway has ended the session */
	:: d_step { asked && !answered && !tomb[owner] -> tomb[owner] = true }
	:: d_step { asked && !answered && tomb[owner] && ENDED && LANDED -> answered = true;
#ifdef REACH_ANSWERED
		assert(epoch < 2);
#endif
		skip }
	/* another owner, which knows nothing of the fence */
	:: d_step { epoch < EPOCHS && flight == 0 -> epoch++; owner = 3 - owner; tomb[1] = false; tomb[2] = false }
	:: d_step { epoch < EPOCHS && flight != 0 -> flight = 0; epoch++; owner = 3 - owner; tomb[1] = false; tomb[2] = false }
	od
}

init {
	atomic { run Host(); run Relay(); run Owner() }
}
