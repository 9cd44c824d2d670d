//! The kernel's programs in connect(2) and bind(2): one each for IPv4 sockets and for IPv6 sockets that reach IPv4. Pure.
//!
//! In connect(2) one looks at what is connected to, calls `bpf_bind` with the node's address, and lets the call go on
//! whatever comes of it. In bind(2) one refuses (EPERM) the loopback addresses of others. They need Linux 5.3: older ones do not let them look at the socket, and refuse them.

use std::net::Ipv4Addr;

use super::bpf::{Hook, Instruction};

// Classes and operations of `struct bpf_insn`, as the kernel's instruction set names them.
const LOAD_WORD: u8 = 0x61;
const LOAD_DOUBLE: u8 = 0x79;
const STORE_WORD: u8 = 0x62;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const MOVE_NUMBER_32: u8 = 0xb4;
const AND_NUMBER_32: u8 = 0x54;
const ADD_NUMBER: u8 = 0x07;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_EQUAL_REGISTER: u8 = 0x1d;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const HELPER_BIND: i32 = 64;

// Offsets in `struct bpf_sock_addr`, the program's argument.
const USER_IP4: i16 = 4;
const USER_IP6: i16 = 8;
const SOCKET_TYPE: i16 = 32;
const SOCKET: i16 = 64;
/// In `struct bpf_sock`: the address that the socket is bound to.
const SOCKET_SOURCE_IP4: i16 = 24;

const STREAM: i32 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// What stands before the IPv4 address in an IPv6 one: `::ffff:0:0/96`, its third word.
const MAPPED: [u8; 4] = [0, 0, 0xff, 0xff];

/// Registers: the result, the arguments, two that calls leave alone, and the end of the stack.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const CONTEXT: u8 = 6;
const OWN_SOCKET: u8 = 7;
const STACK: u8 = 10;

/// Stands for a jump to the program's end until that is known.
const TO_THE_END: i16 = i16::MAX;

/// The programs that give stream sockets the source `address`, and keep every socket off others' loopback addresses.
pub(crate) fn all(address: Ipv4Addr) -> [(Hook, Vec<Instruction>); 4] {
    [
        (Hook::Connect4, connect4(address)),
        (Hook::Connect6, connect6(address)),
        (Hook::Bind4, bind4(address)),
        (Hook::Bind6, bind6(address)),
    ]
}

fn bind4(address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = vec![instruction(MOVE, CONTEXT, R1, 0, 0)];
    program.extend(refuse_others(USER_IP4, address));
    end(program)
}

fn bind6(address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = vec![instruction(MOVE, CONTEXT, R1, 0, 0)];
    program.extend(unless_mapped());
    program.extend(refuse_others(USER_IP6 + 12, address));
    end(program)
}

/// Refuses the call where the address at this offset is a loopback one, neither `address` nor 127.0.0.1.
fn refuse_others(offset: i16, address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_WORD, R2, CONTEXT, offset, 0),
        // In a register: an immediate number is extended by its sign, a loaded word is not.
        instruction(MOVE_NUMBER_32, R3, 0, 0, word(address.octets())),
        instruction(JUMP_EQUAL_REGISTER, R2, R3, TO_THE_END, 0),
    ];
    program.extend(unless_elsewhere(offset));
    program.extend([instruction(MOVE_NUMBER, R0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn connect4(address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = begin();
    program.extend(unless_elsewhere(USER_IP4));
    program.extend(unless_bound());
    let name = [family(AF_INET), word(address.octets()), 0, 0];
    program.extend(bind(&name, 16));
    end(program)
}

fn connect6(address: Ipv4Addr) -> Vec<Instruction> {
    let mut program = begin();
    program.extend(unless_mapped());
    program.extend(unless_elsewhere(USER_IP6 + 12));
    program.extend(unless_bound());
    let name = [family(AF_INET6), 0, 0, 0, word(MAPPED), word(address.octets()), 0];
    program.extend(bind(&name, 28));
    end(program)
}

/// Keeps the argument, and leaves alone all but stream sockets.
fn begin() -> Vec<Instruction> {
    vec![
        instruction(MOVE, CONTEXT, R1, 0, 0),
        instruction(LOAD_WORD, R2, CONTEXT, SOCKET_TYPE, 0),
        instruction(JUMP_NOT_EQUAL, R2, 0, TO_THE_END, STREAM),
    ]
}

/// To the end unless the IPv6 address stands for an IPv4 one.
fn unless_mapped() -> [Instruction; 7] {
    [
        instruction(LOAD_WORD, R2, CONTEXT, USER_IP6, 0),
        instruction(JUMP_NOT_EQUAL, R2, 0, TO_THE_END, 0),
        instruction(LOAD_WORD, R2, CONTEXT, USER_IP6 + 4, 0),
        instruction(JUMP_NOT_EQUAL, R2, 0, TO_THE_END, 0),
        instruction(LOAD_WORD, R2, CONTEXT, USER_IP6 + 8, 0),
        instruction(MOVE_NUMBER_32, R3, 0, 0, word(MAPPED)),
        instruction(JUMP_NOT_EQUAL_REGISTER, R2, R3, TO_THE_END, 0),
    ]
}

/// To the end unless the target, at this offset, is in 127.0.0.0/8 and not 127.0.0.1.
fn unless_elsewhere(offset: i16) -> [Instruction; 4] {
    [
        instruction(LOAD_WORD, R2, CONTEXT, offset, 0),
        instruction(JUMP_EQUAL, R2, 0, TO_THE_END, word([127, 0, 0, 1])),
        instruction(AND_NUMBER_32, R2, 0, 0, word([255, 0, 0, 0])),
        instruction(JUMP_NOT_EQUAL, R2, 0, TO_THE_END, word([127, 0, 0, 0])),
    ]
}

/// To the end where the socket has an address. One that has only a port is refused by `bpf_bind` itself.
fn unless_bound() -> [Instruction; 3] {
    [
        instruction(LOAD_DOUBLE, OWN_SOCKET, CONTEXT, SOCKET, 0),
        instruction(LOAD_WORD, R2, OWN_SOCKET, SOCKET_SOURCE_IP4, 0),
        instruction(JUMP_NOT_EQUAL, R2, 0, TO_THE_END, 0),
    ]
}

/// Calls `bpf_bind(context, name, length)` with a socket address of these words.
fn bind(name: &[i32], length: i32) -> Vec<Instruction> {
    // The stack is initialised and addressed in whole double words.
    let size = i16::try_from(name.len().next_multiple_of(2) * 4).unwrap_or(i16::MAX);
    let stores = (-size..).step_by(4).zip(name).map(|(at, word)| instruction(STORE_WORD, STACK, 0, at, *word));
    let call = [
        instruction(MOVE, R1, CONTEXT, 0, 0),
        instruction(MOVE, R2, STACK, 0, 0),
        instruction(ADD_NUMBER, R2, 0, 0, i32::from(-size)),
        instruction(MOVE_NUMBER, R3, 0, 0, length),
        instruction(CALL, 0, 0, 0, HELPER_BIND),
    ];
    stores.chain(call).collect()
}

/// At the end the call goes on.
fn end(mut program: Vec<Instruction>) -> Vec<Instruction> {
    let length = program.len();
    for (index, instruction) in program.iter_mut().enumerate() {
        if instruction.offset == TO_THE_END {
            instruction.offset = i16::try_from(length - index - 1).unwrap_or(i16::MAX);
        }
    }
    program.extend([instruction(MOVE_NUMBER, R0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    // They are bit fields, whose order follows that of bytes.
    let registers = if cfg!(target_endian = "big") { destination << 4 | source } else { source << 4 | destination };
    Instruction { code, registers, offset, immediate }
}

/// Four bytes of an address as a program loads and stores them.
fn word(bytes: [u8; 4]) -> i32 {
    i32::from_ne_bytes(bytes)
}

/// The first word of a socket address: its family, and the port 0.
fn family(number: u16) -> i32 {
    let [first, second] = number.to_ne_bytes();
    word([first, second, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const JUMPS: [u8; 4] = [JUMP_EQUAL, JUMP_EQUAL_REGISTER, JUMP_NOT_EQUAL, JUMP_NOT_EQUAL_REGISTER];

    #[test]
    fn every_jump_leads_to_the_end() {
        for (hook, program) in all(Ipv4Addr::new(127, 77, 0, 5)) {
            let last = program.len() - 2;
            let jumps: Vec<usize> = (0..program.len()).filter(|index| JUMPS.contains(&program[*index].code)).collect();
            assert!(jumps.len() >= 3, "{hook:?}");
            for index in jumps {
                assert_eq!(index + 1 + usize::try_from(program[index].offset).unwrap(), last, "{hook:?}: {index}");
            }
            assert_eq!((program[last].code, program[last].immediate), (MOVE_NUMBER, 1));
            assert_eq!(program[last + 1].code, EXIT);
        }
    }

    #[test]
    fn addresses_are_in_network_order_and_on_the_stack() {
        let [(_, program), ..] = all(Ipv4Addr::new(127, 77, 0, 5));
        let stored: Vec<(i16, [u8; 4])> = program
            .iter()
            .filter(|instruction| instruction.code == STORE_WORD)
            .map(|instruction| (instruction.offset, instruction.immediate.to_ne_bytes()))
            .collect();
        assert_eq!(stored[1], (-12, [127, 77, 0, 5]));
        assert_eq!(stored.len(), 4);
    }
}
