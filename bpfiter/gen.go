package bpfiter

//go:generate go tool bpf2go -cc clang -strip llvm-strip -tags linux -target bpfel,bpfeb -no-global-types -type fd_row -type anon_row -type sock_row -type usual_row -type owner_row -type reader_row iter iter.c -- -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
