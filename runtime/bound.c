/* Calls of small bound functions, without a frame of the interpreter's: a type whose objects are called here.

   What it needs of CPython is declared below, a few functions and structs of the stable ABI, so that no header of Python's
   has to be there. The interpreter's lock is held from the first look to the end of the call. So nothing else can begin in
   between, and what would have to wait, fails, or is not an ordinary call, goes the long way, which is written in Python. */

#include <stddef.h>
#include <stdint.h>

@ABI@

typedef struct _object PyObject;
typedef struct {
  int slot;
  void (*function)(void);
} PyType_Slot;
typedef struct {
  const char *name;
  int basicsize;
  int itemsize;
  unsigned int flags;
  PyType_Slot *slots;
} PyType_Spec;
enum { Py_tp_call = 50 };
PyObject *PyType_FromSpecWithBases(PyType_Spec *spec, PyObject *bases);
PyObject *PyObject_GetAttrString(PyObject *object, const char *name);
PyObject *PyObject_Call(PyObject *callable, PyObject *args, PyObject *named);
PyObject *PyObject_CallMethod(PyObject *object, const char *name, const char *format, ...);
PyObject *PyList_GetSlice(PyObject *list, ptrdiff_t low, ptrdiff_t high);
ptrdiff_t PyTuple_Size(PyObject *tuple);
ptrdiff_t PyDict_Size(PyObject *dict);
void Py_IncRef(PyObject *object);
void Py_DecRef(PyObject *object);

/* What one object calls, and what it returns: `result`, or a list of the first `count` items of it if `count` is not
   negative. `busy` and what `inside` leads to are not 0 while something runs beside which this must not begin. */
typedef struct adjoint_bound {
  int32_t (*entry)(const void *args, void *workspace, adjoint_context *context);
  const void *args;
  void *workspace;
  adjoint_context *context;
  const unsigned char *const *inside;
  PyObject *result;
  int64_t count;
  int64_t busy;
} adjoint_bound;

PyObject *adjoint_bound_type(PyObject *bases, int64_t size);
void adjoint_bound_set(PyObject *self, const adjoint_bound *bound);

static ptrdiff_t place; /* of the pointer to an adjoint_bound in an object, the same for every type that is made */

static const adjoint_bound **bound_of(PyObject *self) {
  return (const adjoint_bound **)(void *)((char *)self + place);
}

static PyObject *call(PyObject *self, PyObject *args, PyObject *named) {
  const adjoint_bound *bound = *bound_of(self);
  if (!bound || bound->busy || (bound->inside && *bound->inside && **bound->inside) || PyTuple_Size(args) ||
      (named && PyDict_Size(named))) {
    PyObject *longer = PyObject_GetAttrString(self, "longer");
    if (!longer) return NULL;
    PyObject *result = PyObject_Call(longer, args, named);
    Py_DecRef(longer);
    return result;
  }
  int32_t status = bound->entry(bound->args, bound->workspace, bound->context);
  if (status) return PyObject_CallMethod(self, "recover", "i", (int)status);
  if (bound->count >= 0) return PyList_GetSlice(bound->result, 0, (ptrdiff_t)bound->count);
  Py_IncRef(bound->result);
  return bound->result;
}

/* The type: a subclass of the class in `bases`, whose objects have `size` bytes. NULL and an exception if there is none. */
PyObject *adjoint_bound_type(PyObject *bases, int64_t size) {
  static PyType_Slot slots[] = {{Py_tp_call, NULL}, {0, NULL}};
  static PyType_Spec spec = {"adjoint.runtime.bound.SmallFunction", 0, 0, 0, slots};
  slots[0].function = (void (*)(void))call;
  place = (ptrdiff_t)size;
  spec.basicsize = (int)size + (int)sizeof(adjoint_bound *);
  return PyType_FromSpecWithBases(&spec, bases);
}

void adjoint_bound_set(PyObject *self, const adjoint_bound *bound) { *bound_of(self) = bound; }
