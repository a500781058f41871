#include "textflag.h"

// The kernel calls this on the thread's stack for handlers, with the signal's
// number in DI. It adds that to the eventfd, and nothing else: it may run
// between any two instructions of Go.
TEXT ·onSignal(SB), NOSPLIT|NOFRAME, $0
	SUBQ	$8, SP
	MOVLQZX	DI, DI
	MOVQ	DI, 0(SP)
	MOVQ	·handlerFD(SB), DI
	MOVQ	SP, SI
	MOVQ	$8, DX
	MOVQ	$1, AX // write
	SYSCALL
	ADDQ	$8, SP
	RET

// The handler returns to this, which lets the thread go on.
TEXT ·restore(SB), NOSPLIT|NOFRAME, $0
	MOVQ	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3

DATA	·handlerPC(SB)/8, $·onSignal(SB)
GLOBL	·handlerPC(SB), NOPTR, $8
DATA	·restorerPC(SB)/8, $·restore(SB)
GLOBL	·restorerPC(SB), NOPTR, $8
