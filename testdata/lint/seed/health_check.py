# health_check.py
#!/usr/bin/env python3
import requests
import psutil
import sys
import os

def check_service_health():
    """Comprehensive health check for PDF Chat service"""
    
    # Check 1: Basic system resources
    cpu_percent = psutil.cpu_percent(interval=1)
    memory_percent = psutil.virtual_memory().percent
    disk_percent = psutil.disk_usage('/').percent
    
    if cpu_percent > 90 or memory_percent > 90 or disk_percent > 95:
        print(f"Resource usage too high: CPU={cpu_percent}%, MEM={memory_percent}%, DISK={disk_percent}%")
        return 1
    
    # Check 2: API endpoint availability
    try:
        response = requests.get('http://localhost:5000/health', timeout=5)
        if response.status_code != 200:
            print(f"API health check failed: {response.status_code}")
            return 1
    except requests.RequestException as e:
        print(f"API health check error: {e}")
        return 1
    
    # Check 3: Database connectivity
    try:
        response = requests.get('http://localhost:5000/db/health', timeout=5)
        if response.status_code != 200:
            print(f"Database health check failed: {response.status_code}")
            return 1
    except requests.RequestException as e:
        print(f"Database health check error: {e}")
        return 1
    
    # Check 4: Vector store connectivity
    try:
        response = requests.get('http://localhost:5000/vector/health', timeout=5)
        if response.status_code != 200:
            print(f"Vector store health check failed: {response.status_code}")
            return 1
    except requests.RequestException as e:
        print(f"Vector store health check error: {e}")
        return 1
    
    print("All health checks passed")
    return 0

if __name__ == "__main__":
    sys.exit(check_service_health())
