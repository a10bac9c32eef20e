import os,socket,subprocess
a,b=socket.socketpair()
s=os.fstat(b.fileno())
p=subprocess.run(['/tmp/h/r30/http-w/lbam-edge','--camera','test:64x48','--frames','2','--output','/nonexistent/x.y4m'],stderr=b,env=dict(os.environ,JOURNAL_STREAM=f'{s.st_dev}:{s.st_ino}'))
b.close(); print(p.returncode); print(a.recv(9999).decode())
p=subprocess.run(['/tmp/h/r30/http-w/lbam-edge','--camera','test:64x48','--frames','2','--output','/nonexistent/x.y4m'],stderr=subprocess.PIPE,env=dict(os.environ,JOURNAL_STREAM=f'{s.st_dev}:{s.st_ino}'))
print(p.stderr.decode())
