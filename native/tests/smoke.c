/* Loads the library that is named and asks for its version: what a machine of another architecture must be able to do. */
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char** arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: smoke LIBRARY\n");
        return 2;
    }
    void* library = dlopen(arguments[1], RTLD_NOW);
    int (*version)(void) = library ? (int (*)(void))dlsym(library, "iqe_abi") : NULL;
    if (!version) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    printf("%s: loaded, interface %d\n", arguments[1], version());
    return 0;
}
